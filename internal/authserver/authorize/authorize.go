package authorize

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/clientmeta"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/site"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

const (
	loginTTL = 30 * time.Minute // from consent to callback; the user may have to find a second factor
	maxState = 4096             // bytes of the client's state

	consentForm = "consent" // purpose of its form token
)

// authorizeParams are the parameters that matter, and travel through the form.
var authorizeParams = []string{
	"response_type", "client_id", "redirect_uri", "state", "scope", "code_challenge", "code_challenge_method", "resource",
}

// authorization is a checked authorization request: a login to be, and what its form
// has to carry.
type authorization struct {
	store.Login
	client model.Client
	params url.Values // as sent, those of authorizeParams
}

// A clientError is one to tell the client, at its redirect URI.
type clientError struct {
	reason  *oauth.Error
	request *authorization
}

func (c *clientError) Error() string { return c.reason.Error() }

// readAuthorization checks an authorization request. The error is a *site.Refusal, to
// be shown to the user where there is no trusted redirect URI to return it to (RFC 6749
// §4.1.2.1), a *clientError, or a failure of the store.
func (h *Handler) readAuthorization(ctx context.Context, values url.Values) (*authorization, error) {
	a := &authorization{params: url.Values{}}
	for _, name := range authorizeParams {
		if list := values[name]; len(list) > 0 {
			a.params[name] = list
		}
	}
	p, refused := oauth.ParseParams(a.params)
	if refused != nil {
		return nil, site.Refuse(http.StatusBadRequest, refused.Code, "This link is not valid", refused.Description)
	}
	if err := h.readClient(ctx, a, p); err != nil {
		return nil, err
	}
	if refused := h.readRequest(a, p); refused != nil {
		return nil, &clientError{refused, a}
	}
	return a, nil
}

// findClient finds a client that wants a user's consent. The error is a *site.Refusal, or
// a failure of the store.
func (h *Handler) findClient(ctx context.Context, id string) (model.Client, error) {
	client, err := h.cfg.Clients.Find(ctx, id)
	var document *clientmeta.Error
	switch {
	case errors.As(err, &document):
		return client, site.Refuse(http.StatusBadRequest, oauth.InvalidClient, "This application's description cannot be read",
			"The client_id of the request is the address of a document that describes the application, but "+
				document.Reason+". Go back to the application and connect again in a minute; if that does not help, tell its makers.")
	case errors.Is(err, model.ErrNotFound):
		return client, site.Refuse(http.StatusBadRequest, oauth.InvalidClient, "This application is not registered here",
			"The application used a client_id that this server does not know. "+
				"Remove the connection in the application and add it again, so that it registers anew.")
	case err != nil:
		return client, fmt.Errorf("cannot read a client: %w", err)
	}
	return client, nil
}

// readClient finds out who asks and where to return to.
func (h *Handler) readClient(ctx context.Context, a *authorization, p oauth.Params) (err error) {
	if a.client, err = h.findClient(ctx, p.Get("client_id")); err != nil {
		return err
	}
	a.ClientID, a.RedirectURI = a.client.ID, p.Get("redirect_uri")
	if a.RedirectURI == "" && len(a.client.RedirectURIs) == 1 {
		a.RedirectURI = a.client.RedirectURIs[0]
	}
	if !h.cfg.Schemes.Match(a.client.RedirectURIs, a.RedirectURI) {
		return site.Refuse(http.StatusBadRequest, oauth.InvalidRequest, "This application asks for an address it did not register",
			"The redirect_uri of the request is not one that the application registered. "+
				"Remove the connection in the application and add it again, so that it registers anew.")
	}
	return nil
}

// readRequest checks what is asked for.
func (h *Handler) readRequest(a *authorization, p oauth.Params) (refused *oauth.Error) {
	if len(p.Get("state")) > maxState {
		return oauth.Errorf(oauth.InvalidRequest, "state is longer than %d bytes", maxState)
	}
	a.ClientState, a.Challenge = p.Get("state"), p.Get("code_challenge")
	switch {
	case !oauth.MayUse(a.client, oauth.GrantCode):
		return oauth.Errorf(oauth.UnauthorizedClient, "the client has not registered for %s", oauth.GrantCode)
	case p.Get("response_type") == "":
		return oauth.Errorf(oauth.InvalidRequest, "response_type is missing; use code")
	case p.Get("response_type") != oauth.ResponseCode:
		return oauth.Errorf(oauth.UnsupportedResponseType, "response_type must be code")
	case a.Challenge == "":
		return oauth.Errorf(oauth.InvalidRequest, "code_challenge is missing; PKCE with S256 is required")
	case p.Get("code_challenge_method") != oauth.S256:
		return oauth.Errorf(oauth.InvalidRequest, "code_challenge_method must be S256")
	case !oauth.ValidChallenge(a.Challenge):
		return oauth.Errorf(oauth.InvalidRequest, "code_challenge is not the base64url form of a SHA-256 hash")
	}
	resource, refused := oauth.MatchResources(h.cfg.Issuer, p)
	a.Requested, a.Resource = h.cfg.Requested(p.Get("scope"), resource), h.cfg.Resource(resource)
	return refused
}

// page asks for consent.
func (h *Handler) page(r *http.Request) (site.Answer, error) {
	query := r.URL.Query()
	if err := h.limit(r, h.cfg.Authorizations, query.Get("client_id")); err != nil {
		return site.Answer{}, err
	}
	a, err := h.readAuthorization(r.Context(), query)
	if err != nil {
		return h.refuseAuthorization(err)
	}
	browser, cookie := h.ensureBrowser(r)
	return site.Answer{Page: h.consent(a, browser), Cookie: cookie}, nil
}

func (h *Handler) consent(a *authorization, browser string) pages.Consent {
	c := pages.Consent{
		Client: oauth.ClientName(a.client), Publisher: oauth.Publisher(a.client), Added: a.client.Kind == model.ClientOperator,
		Destination: destination(a.RedirectURI), Account: h.cfg.AccountURL(), Action: h.cfg.Issuer + "/oauth/authorize",
		Parts: permissions(h.cfg.Forgejo.Scope()), ReadOnly: model.ReadOnly(a.Requested), Reads: !h.cfg.Forgejo.MayWrite(),
		Fields: []pages.Field{{Name: "form_token", Value: pages.FormToken(browser, consentForm, a.params)}},
	}
	for _, name := range authorizeParams {
		for _, value := range a.params[name] {
			c.Fields = append(c.Fields, pages.Field{Name: name, Value: value})
		}
	}
	return c
}

// decide takes the answer of the consent page.
func (h *Handler) decide(r *http.Request) (site.Answer, error) {
	if err := r.ParseForm(); err != nil {
		return site.Answer{}, site.Refuse(http.StatusBadRequest, oauth.InvalidRequest, "This form cannot be read", oauth.BodyError(err).Description)
	}
	if err := h.limit(r, h.cfg.Logins, r.PostForm.Get("client_id")); err != nil {
		return site.Answer{}, err
	}
	a, err := h.readAuthorization(r.Context(), r.PostForm)
	if err != nil {
		return h.refuseAuthorization(err)
	}
	if !pages.ValidFormToken(r.PostForm.Get("form_token"), h.browserOf(r), consentForm, a.params) {
		return site.Answer{}, site.Refuse(http.StatusForbidden, oauth.AccessDenied, "Please confirm again",
			"This form does not belong to this browser, or cookies are switched off. Nothing was agreed to.",
			pages.Link("Show the question again", h.authorizeURL(a.params)))
	}
	if r.PostForm.Get("decision") != "allow" {
		return h.denied(a.client, a.Login, "at the consent page")
	}
	a.Scope = a.Requested
	if r.PostForm.Get("access") != "write" || !h.cfg.Forgejo.MayWrite() {
		a.Scope = model.ScopeRead
	}
	if err := h.cfg.Clients.Keep(r.Context(), a.client); err != nil {
		return site.Answer{}, fmt.Errorf("cannot store a client: %w", err)
	}
	return h.toForgejo(r, a.Login)
}

// toForgejo stores the login, bound to the browser, and sends it to Forgejo.
func (h *Handler) toForgejo(r *http.Request, l store.Login) (site.Answer, error) {
	state := model.NewToken("")
	l.StateHash, l.BrowserHash = model.Hash(state), model.Hash(h.browserOf(r))
	l.Verifier, l.ExpiresAt = forgejo.NewVerifier(), h.cfg.Now().Add(loginTTL)
	if err := h.cfg.Store.CreateLogin(r.Context(), l); err != nil {
		return site.Answer{}, fmt.Errorf("cannot store a login: %w", err)
	}
	return site.Answer{Location: h.cfg.Forgejo.AuthCodeURL(state, l.Verifier)}, nil
}

func (h *Handler) authorizeURL(params url.Values) string {
	return h.cfg.Issuer + "/oauth/authorize?" + params.Encode()
}

// denied tells the client that the user said no.
func (h *Handler) denied(c model.Client, l store.Login, where string) (site.Answer, error) {
	e := site.Event(audit.LoginDenied, model.User{}, c)
	e.Outcome, e.Detail = "denied", where
	return h.sendBack(c, l, oauth.Errorf(oauth.AccessDenied, "the user did not agree"), site.Refuse(http.StatusForbidden, oauth.AccessDenied,
		"Not connected", "You did not agree, so the application was not connected. You can close this page."), e)
}

// refuseAuthorization tells the client what readAuthorization has found, where the client
// is to hear of it.
func (h *Handler) refuseAuthorization(err error) (site.Answer, error) {
	var told *clientError
	if !errors.As(err, &told) {
		return site.Answer{}, err
	}
	return h.sendBack(told.request.client, told.request.Login, told.reason, site.Refuse(told.reason.Status(), told.reason.Code,
		"This application cannot be connected",
		"Nothing was agreed to. The application asked in a way that this server does not accept: "+told.reason.Description))
}

// sendBack returns to a client without a code. Only to what the operator vouches
// for does the browser go by itself: anybody may register any address, and the user
// has not agreed to be sent there, or has changed his mind (RFC 9700 §4.11.2).
func (h *Handler) sendBack(c model.Client, l store.Login, e *oauth.Error, shown *site.Refusal, events ...audit.Event) (site.Answer, error) {
	back := h.backWithError(l, e)
	if c.Kind == model.ClientOperator {
		return site.Answer{Location: string(back.URL), Events: events}, nil
	}
	shown.Back, shown.Events = back, events
	return site.Answer{}, shown
}

// back is the URL that returns to the client: params plus state, and iss as
// RFC 9207 wants it.
func (h *Handler) back(l store.Login, params url.Values) string {
	if l.ClientState != "" {
		params.Set("state", l.ClientState)
	}
	params.Set("iss", h.cfg.Issuer)
	return oauth.WithParams(l.RedirectURI, params)
}

// backWithError links to the client. The redirect URI's scheme was checked at
// registration.
func (h *Handler) backWithError(l store.Login, e *oauth.Error) *pages.Back {
	to := h.back(l, url.Values{"error": {e.Code}, "error_description": {e.Description}})
	return &pages.Back{Destination: destination(l.RedirectURI), URL: template.URL(to)}
}
