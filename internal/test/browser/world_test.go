package browser

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/localhost"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/localbroker"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
	"github.com/fjmcp/fjmcp-broker/internal/test/testlog"
)

// world is a broker behind TLS, a forge on another site, and a site of anybody's.
type world struct {
	t         *testing.T
	url       string // of the broker
	admin     string // its admin socket
	forge     *fakeforge.Server
	broker    *localbroker.Broker
	site      *http.ServeMux // of https://elsewhere.localhost:<port>
	siteURL   string
	log       *testlog.Buffer
	transport *http.Transport
}

// newWorld starts one, the broker with further settings.
func newWorld(t *testing.T, env ...string) *world {
	t.Helper()
	if missing != nil {
		t.Skip(missing)
	}
	t.Parallel()
	w := &world{t: t, log: &testlog.Buffer{}, site: http.NewServeMux(), transport: &http.Transport{
		DialContext: new(localhost.Dialer).DialContext, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	t.Cleanup(w.transport.CloseIdleConnections)
	elsewhere := httptest.NewTLSServer(w.site)
	t.Cleanup(elsewhere.Close)
	w.siteURL = strings.Replace(elsewhere.URL, "127.0.0.1", "elsewhere.localhost", 1)
	w.site.HandleFunc("/callback", func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(rw, "<title>Client</title><p>The client got: %s", strings.Join(names(r.URL.Query()), " "))
	})
	w.startBroker(env)
	return w
}

// names lists the parameters that were sent.
func names(v url.Values) []string {
	var list []string
	for _, name := range []string{"code", "state", "iss", "error"} {
		if v.Get(name) != "" {
			list = append(list, name)
		}
	}
	return list
}

func (w *world) startBroker(env []string) {
	w.t.Helper()
	var err error
	if w.forge, err = localbroker.StartForge("0"); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.forge.Stop)
	front := httptest.NewTLSServer(http.HandlerFunc(w.proxy))
	w.t.Cleanup(front.Close)
	w.url = front.URL
	dir := w.t.TempDir()
	w.admin = filepath.Join(dir, "state", "admin.sock")
	w.broker, err = localbroker.Start(w.t.Context(), localbroker.Config{
		Program: filepath.Join(bin, "fjmcp-broker"), Backend: filepath.Join(bin, "standin"), Port: "0", Dir: dir,
		Forge: w.forge, Log: w.log, PublicURL: w.url, Env: env,
	})
	if err != nil {
		w.t.Fatalf("%v\n%s", err, w.log)
	}
	w.t.Cleanup(func() {
		w.broker.Stop(syscall.SIGTERM)
		if w.t.Failed() {
			w.t.Logf("the broker's log:\n%s", w.log)
		}
	})
}

// proxy stands for the reverse proxy in front of the broker.
func (w *world) proxy(rw http.ResponseWriter, r *http.Request) {
	target, _ := url.Parse(w.broker.URL)
	(&httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(target)
		p.Out.Host = p.In.Host
		p.SetXForwarded()
	}}).ServeHTTP(rw, r)
}

// client is a registered client.
type client struct {
	w                         *world
	id, redirectURI, verifier string
}

// register registers a public client that returns to redirectURI.
func (w *world) register(name, redirectURI string) client {
	w.t.Helper()
	body, _ := json.Marshal(map[string]any{"client_name": name, "redirect_uris": []string{redirectURI}, "token_endpoint_auth_method": "none"})
	resp, err := (&http.Client{Transport: w.transport}).Post(w.url+"/oauth/register", "application/json", bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		ClientID string `json:"client_id"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.ClientID == "" {
		w.t.Fatalf("registration: %d, %v", resp.StatusCode, err)
	}
	return client{w, answer.ClientID, redirectURI, model.NewToken("")}
}

// authorizeURL starts a login. Parameters come in pairs beside the usual.
func (c client) authorizeURL(params ...string) string {
	v := url.Values{
		"response_type": {"code"}, "client_id": {c.id}, "redirect_uri": {c.redirectURI}, "state": {"s"},
		"code_challenge": {oauth.Challenge(c.verifier)}, "code_challenge_method": {"S256"},
	}
	for i := 0; i+1 < len(params); i += 2 {
		v.Set(params[i], params[i+1])
	}
	return c.w.url + "/oauth/authorize?" + v.Encode()
}

// tokens redeems the code that the tab was sent to the client with, and returns
// the answer.
func (c client) tokens(b *tab) map[string]any {
	c.w.t.Helper()
	at, err := url.Parse(b.asked(c.redirectURI))
	if err != nil {
		c.w.t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: c.w.transport}).PostForm(c.w.url+"/oauth/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {at.Query().Get("code")}, "client_id": {c.id},
		"redirect_uri": {c.redirectURI}, "code_verifier": {c.verifier},
	})
	if err != nil {
		c.w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
		c.w.t.Fatalf("token: %d %v, %v", resp.StatusCode, answer, err)
	}
	return answer
}

// login is a Chromium with a person at it, for the Go SDK's client.
type login struct {
	tab      *tab
	readOnly bool
	times    int // it was asked to log in
}

// Authorize walks the pages.
func (l *login) Authorize(_ context.Context, authURL string) (loginclient.Redirect, error) {
	l.times++
	first, err := url.Parse(authURL)
	if err != nil {
		return loginclient.Redirect{}, err
	}
	l.tab.forget()
	l.tab.open(authURL)
	if l.readOnly {
		l.tab.press("Read only")
	}
	l.tab.press("Continue to Forgejo login")
	l.tab.throughForge("alice", first.Query().Get("redirect_uri"))
	at, err := url.Parse(l.tab.asked(first.Query().Get("redirect_uri")))
	if err != nil {
		return loginclient.Redirect{}, err
	}
	q := at.Query()
	return loginclient.Redirect{URL: at, Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss"), Error: q.Get("error")}, nil
}

// throughForge signs in and consents at the forge as far as it asks, until the
// browser is sent to target.
func (b *tab) throughForge(user, target string) {
	b.t.Helper()
	b.until("the way through the forge to "+target, func() bool { return b.asked(target) != "" || b.atForge(user) })
}

// atForge answers the page of the forge that the tab shows, if it does, once.
func (b *tab) atForge(user string) (never bool) {
	_, _ = b.eval(fmt.Sprintf(`(() => {
		const button = document.querySelector("button[value=true], form[action='/user/login'] button");
		if (!button || document.body.dataset.done) return "";
		document.body.dataset.done = "1";
		const name = document.querySelector("[name=user_name]"), password = document.querySelector("[name=password]");
		if (name) { name.value = %[1]q; password.value = %[1]q + "-password"; }
		button.click();
		return "";
	})()`, user))
	return false
}

// forget empties the list of what the tab was sent to.
func (b *tab) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asks, b.refused = nil, 0
}

// connect connects the Go SDK's client.
func (w *world) connect(l *login) *loginclient.Client {
	w.t.Helper()
	c, err := loginclient.Connect(w.t.Context(), loginclient.Config{MCPURL: w.url + "/mcp", Name: "Walking client", Transport: w.transport, Browser: l})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// call calls a tool and returns its text, and whether it failed.
func call(ctx context.Context, c *loginclient.Client, tool string, args map[string]any) (text string, failed bool, err error) {
	r, err := c.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		return "", false, err
	}
	for _, content := range r.Content {
		if t, ok := content.(*mcp.TextContent); ok {
			text += t.Text
		}
	}
	return text, r.IsError, nil
}

// breakForge makes the forge's token endpoint fail.
func (w *world) breakForge() {
	w.t.Helper()
	if err := w.forge.Inject(fakeforge.Fault{Path: fakeforge.TokenPath, Kind: "status", Status: http.StatusBadGateway}); err != nil {
		w.t.Fatal(err)
	}
}
