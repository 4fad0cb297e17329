// Package loginclient goes the way a user goes, without a screen: Browser takes an
// authorization URL through the pages on its way (consent, login at the forge,
// the forge's consent) to the client's redirect URI, and Connect is an MCP
// client, the official Go SDK's, that knows only the URL of the MCP endpoint.
//
// Both take an HTTP transport, so that they can live in a container's network.
package loginclient

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"golang.org/x/oauth2"
)

// RedirectURI is what Connect registers. Nothing listens there: the browser
// stops before it.
const RedirectURI = "http://127.0.0.1:33418/callback"

// Config describes one MCP client.
type Config struct {
	MCPURL string // the only thing it is told, such as https://mcp.example.org/mcp
	// Name is its client_name, "walk" if empty.
	Name string
	// Transport carries its HTTP; nil means http.DefaultTransport.
	Transport http.RoundTripper
	Browser   Authorizer
	Options   *mcp.ClientOptions // handlers for what servers ask; may be nil
	// Protocol is the revision it opens with, 2025-11-25 if empty. From 2026-07-28
	// on there is no session, and ID is empty.
	Protocol string
	Steps    func(string) // told what happens, if set
}

// Authorizer is a browser with a person at it.
type Authorizer interface {
	// Authorize opens an authorization URL and returns what arrived at its
	// redirect_uri.
	Authorize(ctx context.Context, authURL string) (Redirect, error)
}

// Client is a connected MCP client.
type Client struct {
	*mcp.ClientSession // Close sends DELETE
	config             Config
	handler            *auth.AuthorizationCodeHandler
	http               *http.Client
	sse                bool // HTTP+SSE
}

// Connect registers a client of its own, has the browser authorize, fetches a token and initializes
// an MCP session, as the Go SDK does it.
func Connect(ctx context.Context, c Config) (*Client, error) {
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	return client.Again(ctx)
}

// ConnectSSE is Connect over HTTP+SSE (2024-11-05) to the event stream at MCPURL.
// Closing such a client does not end its session.
func ConnectSSE(ctx context.Context, c Config) (*Client, error) {
	client, err := c.login(ctx, http.MethodGet)
	if err != nil {
		return nil, err
	}
	client.sse = true
	return client.Again(ctx)
}

// Login logs in as Connect does and opens no session: Again does.
func Login(ctx context.Context, c Config) (*Client, error) { return c.login(ctx, http.MethodPost) }

// login logs in upon what a request without a token is told.
func (c Config) login(ctx context.Context, method string) (*Client, error) {
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, c.MCPURL, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := client.http.Do(req)
	if err != nil {
		return nil, err
	}
	if err := client.handler.Authorize(ctx, req, resp); err != nil { // closes the body
		return nil, fmt.Errorf("cannot log in at %s: %w", c.MCPURL, err)
	}
	return client, nil
}

// Again opens a further session with the tokens of c, as a client does after a
// restart: without registering or logging in.
func (c *Client) Again(ctx context.Context) (*Client, error) {
	var transport mcp.Transport = &mcp.StreamableClientTransport{Endpoint: c.config.MCPURL, HTTPClient: c.http, OAuthHandler: c.handler}
	if c.sse { // the SDK's transport leaves tokens to others
		source, err := c.handler.TokenSource(ctx)
		if err != nil {
			return nil, err
		}
		authorized := &http.Client{Transport: &oauth2.Transport{Source: source, Base: c.http.Transport}}
		transport = &mcp.SSEClientTransport{Endpoint: c.config.MCPURL, HTTPClient: authorized}
	}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "fjmcp-walk", Version: "1"}, c.config.Options).
		Connect(ctx, transport, &mcp.ClientSessionOptions{ProtocolVersion: cmp.Or(c.config.Protocol, "2025-11-25")})
	if err != nil {
		return nil, fmt.Errorf("cannot connect to %s: %w", c.config.MCPURL, err)
	}
	again := *c
	again.ClientSession = session
	return &again, nil
}

// AccessToken returns the bearer token in use, for requests besides the SDK's.
func (c *Client) AccessToken(ctx context.Context) (string, error) {
	source, err := c.handler.TokenSource(ctx)
	if err != nil {
		return "", err
	}
	if source == nil {
		return "", errors.New("the server never asked for a token")
	}
	t, err := source.Token()
	if err != nil {
		return "", err
	}
	return t.AccessToken, nil
}

// client is one that has not connected yet.
func (c Config) client() (*Client, error) {
	client := &http.Client{Transport: observer{next: cmp.Or(c.Transport, http.DefaultTransport), steps: c.Steps}}
	h, err := auth.NewAuthorizationCodeHandler(&auth.AuthorizationCodeHandlerConfig{
		DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{
			// The second URI is never used: equal registrations would be one client.
			Metadata: &oauthex.ClientRegistrationMetadata{
				ClientName: cmp.Or(c.Name, "walk"), RedirectURIs: []string{RedirectURI, "http://127.0.0.1/" + rand.Text()},
			},
		},
		AuthorizationCodeFetcher: c.fetch,
		Client:                   client,
	})
	return &Client{config: c, handler: h, http: client}, err
}

func (c Config) fetch(ctx context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
	r, err := c.Browser.Authorize(ctx, args.URL)
	if err != nil {
		return nil, err
	}
	if r.Error != "" {
		return nil, fmt.Errorf("authorization failed: %s: %s", r.Error, r.ErrorDescription)
	}
	return &auth.AuthorizationResult{Code: r.Code, State: r.State, Iss: r.Iss}, nil
}

// observer reports each request and the status of its answer.
type observer struct {
	next  http.RoundTripper
	steps func(string)
}

func (o observer) RoundTrip(r *http.Request) (*http.Response, error) {
	if o.steps == nil {
		return o.next.RoundTrip(r)
	}
	what := "client: " + r.Method + " " + place(r.URL) + rpcMethod(r)
	resp, err := o.next.RoundTrip(r)
	if err != nil {
		o.steps(fmt.Sprintf("%s: %v", what, err))
		return nil, err
	}
	o.steps(fmt.Sprintf("%s → %d", what, resp.StatusCode))
	return resp, nil
}

// rpcMethod names the JSON-RPC method of a request, with the tool of a call.
func rpcMethod(r *http.Request) string {
	if r.GetBody == nil {
		return ""
	}
	body, err := r.GetBody()
	if err != nil {
		return ""
	}
	defer body.Close()
	var m struct {
		JSONRPC, Method string
		Params          struct{ Name string }
	}
	if json.NewDecoder(body).Decode(&m) != nil || m.JSONRPC == "" {
		return ""
	}
	return " " + strings.TrimSpace(m.Method+" "+m.Params.Name)
}
