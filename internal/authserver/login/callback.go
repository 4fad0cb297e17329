package login

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/audit"
	"github.com/fjmcp/fjmcp-broker/internal/broker"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/web"
)

// codeTTL is the life of an authorization code; RFC 6749 §4.1.2 allows 10 minutes.
const codeTTL = 2 * time.Minute

// Callback is where Forgejo returns the browser.
func (h *Handler) Callback(w http.ResponseWriter, r *http.Request) {
	login, err := h.takeLogin(r)
	if err != nil {
		h.refuseCallback(w, r, err)
		return
	}
	client, err := h.cfg.Store.Client(r.Context(), login.ClientID)
	if err != nil {
		h.broken(w, r, "read the client of a login", err)
		return
	}
	query := r.URL.Query()
	if query.Get("error") == oauth.AccessDenied {
		h.denied(w, r, client, login.RedirectURI, login.ClientState, "at forgejo")
		return
	}
	user, err := h.logIn(r.Context(), login, query)
	if err != nil {
		h.loginFailed(w, r, login, client, user, err)
		return
	}
	h.finish(w, r, login, client, user)
}

// errOtherBrowser says that a callback came to a browser that did not start the
// login.
var errOtherBrowser = errors.New("another browser")

// takeLogin finds the login that the state names and ends it. In another
// browser it is left as it is, for the one that started it.
func (h *Handler) takeLogin(r *http.Request) (store.Login, error) {
	hash := oauth.Hash(r.URL.Query().Get("state"))
	login, err := h.cfg.Store.Login(r.Context(), hash)
	if err != nil {
		return store.Login{}, err
	}
	if !oauth.EqualHash(h.browserOf(r), login.BrowserHash) {
		return store.Login{}, errOtherBrowser
	}
	return h.cfg.Store.TakeLogin(r.Context(), hash)
}

func (h *Handler) refuseCallback(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, errOtherBrowser):
		h.event(r.Context(), audit.Event{Kind: audit.LoginFailed, Outcome: "other_browser", Detail: "the callback came to a browser that did not start the login", Failed: true})
		h.respond(w, r, web.Message{
			Status: http.StatusForbidden, Title: "This login was started in another browser",
			Text: "Finish it in the browser where you started it, with cookies allowed, or go back to your application and connect again.",
		}, oauth.AccessDenied)
	case errors.Is(err, broker.ErrNotFound), errors.Is(err, broker.ErrExpired):
		h.respond(w, r, web.Message{
			Status: http.StatusBadRequest, Title: "This login is over",
			Text: "It was already finished or took too long. If your application is not connected, go back to it and connect again.",
		}, oauth.InvalidRequest)
	default:
		h.broken(w, r, "read a login", err)
	}
}

// logIn turns Forgejo's answer into a user with a stored token set. The set is
// stored before anything else is asked for: by exchanging the code Forgejo has
// ended the refresh token of the user's earlier login. The user is returned
// also with an error, as far as it is known.
func (h *Handler) logIn(ctx context.Context, login store.Login, query url.Values) (broker.User, error) {
	if code := query.Get("error"); code != "" {
		return broker.User{}, h.cfg.Forgejo.CallbackError(code)
	}
	// From here on the user's browser going away must not lose the token set.
	ctx = context.WithoutCancel(ctx)
	set, err := h.cfg.Forgejo.Exchange(ctx, query.Get("code"), login.Verifier)
	if err != nil {
		return broker.User{}, err
	}
	identity, err := h.cfg.Forgejo.Identity(ctx, set.AccessToken)
	if err != nil {
		return broker.User{}, err
	}
	user, err := h.cfg.Store.UpsertUser(ctx, h.cfg.Forgejo.Origin(), identity.Subject, identity.Name)
	if err != nil {
		return broker.User{Name: identity.Name}, fmt.Errorf("cannot store the user: %w", err)
	}
	if err := h.cfg.Tokens.Put(ctx, user.ID, set); err != nil {
		return user, err
	}
	return user, h.checkScope(ctx, user, set)
}

// checkScope refuses a login whose Forgejo grant is broader than what is asked
// for, and records the scope of the others.
func (h *Handler) checkScope(ctx context.Context, user broker.User, set broker.ForgejoTokens) error {
	granted, err := h.cfg.Forgejo.GrantedScope(ctx, set.AccessToken)
	if err != nil {
		return err
	}
	if err := h.cfg.Forgejo.VerifyScope(granted); err != nil {
		return err
	}
	if !forgejo.ScopeSame(granted, h.cfg.Forgejo.Scope()) {
		h.cfg.Log.WarnContext(ctx, "an older forgejo grant is narrower than FJMCP_BROKER_FORGEJO_SCOPES; some tools will be refused until the user revokes it and logs in again",
			"user", user.Name, "granted", granted, "revoke_at", h.cfg.Forgejo.ApplicationsURL())
	}
	set.Scope = granted
	return h.cfg.Tokens.Put(ctx, user.ID, set)
}

// finish makes the grant and returns to the client with a code.
func (h *Handler) finish(w http.ResponseWriter, r *http.Request, login store.Login, client broker.Client, user broker.User) {
	code, now := oauth.NewToken(oauth.PrefixCode), h.cfg.Now()
	err := h.cfg.Store.CreateGrant(r.Context(), broker.Grant{
		ID: oauth.NewID(), UserID: user.ID, ClientID: client.ID, Scope: login.Scope, Resource: login.Resource, CreatedAt: now,
	}, store.Code{Hash: oauth.Hash(code), RedirectURI: login.RedirectURI, Challenge: login.Challenge, ExpiresAt: now.Add(codeTTL)})
	if err != nil {
		h.loginFailed(w, r, login, client, user, err)
		return
	}
	h.event(r.Context(), audit.Event{Kind: audit.LoginSucceeded, User: user.Name, Client: oauth.ClientName(client), Outcome: "ok"})
	redirect(w, h.back(login.RedirectURI, login.ClientState, url.Values{"code": {code}}))
}

// loginFailed tells the person what to do next, with a way to try again and one
// back to the client.
func (h *Handler) loginFailed(w http.ResponseWriter, r *http.Request, login store.Login, client broker.Client, user broker.User, err error) {
	f := explain(err)
	h.cfg.Log.WarnContext(r.Context(), "login failed", "user", user.Name, "client", oauth.ClientName(client), "error", err)
	h.event(r.Context(), audit.Event{Kind: audit.LoginFailed, User: user.Name, Client: oauth.ClientName(client), Outcome: f.outcome, Detail: err.Error(), Failed: true})
	m := web.Message{Status: f.status, Title: f.title, Text: f.text}
	if f.outcome == forgejo.ScopeTooBroad.String() {
		m.Actions = append(m.Actions, web.Action{Label: "Open Forgejo's settings", URL: template.URL(h.cfg.Forgejo.ApplicationsURL())})
	}
	m.Actions = append(m.Actions,
		web.Action{Label: "Try again", URL: template.URL(h.authorizeURL(again(login)))},
		backAction(oauth.ClientName(client), h.backWithError(login.RedirectURI, login.ClientState, oauth.Errorf(f.code, "%s", f.text))))
	h.respond(w, r, m, f.code)
}

// again is the authorization request that a login came from.
func again(l store.Login) url.Values {
	v := url.Values{
		"response_type": {oauth.ResponseCode}, "client_id": {l.ClientID}, "redirect_uri": {l.RedirectURI}, "scope": {l.Scope},
		"code_challenge": {l.Challenge}, "code_challenge_method": {oauth.S256},
	}
	for name, value := range map[string]string{"state": l.ClientState, "resource": l.Resource} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v
}

// failure is what a failed login looks like from outside.
type failure struct {
	status      int
	title, text string
	code        string // OAuth error for the client
	outcome     string // for the audit trail
}

// explain is the one place that maps a failed login to an answer.
func explain(err error) failure {
	var e *forgejo.Error
	if !errors.As(err, &e) {
		return failure{http.StatusServiceUnavailable, "Something went wrong here", "The server could not finish the login. Try again in a minute.", oauth.TemporarilyUnavailable, "error"}
	}
	f := failure{http.StatusForbidden, "The login did not succeed", e.UserMessage(), oauth.AccessDenied, e.Kind.String()}
	switch e.Kind {
	case forgejo.Down:
		f.status, f.title, f.code = http.StatusServiceUnavailable, "Forgejo does not answer", oauth.TemporarilyUnavailable
	case forgejo.Misconfigured:
		f.status, f.title, f.code = http.StatusBadGateway, "This server is not set up correctly", oauth.ServerError
	case forgejo.Suspended:
		f.title = "Your account may not sign in"
	case forgejo.ScopeTooBroad:
		f.title = "An older permission is in the way"
	}
	return f
}
