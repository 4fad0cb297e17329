package authorize

import (
	"errors"
	"html/template"
	"net/http"
	"net/url"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/site"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

// loginFailed tells the person what to do next, with a way to try again and one
// back to the client.
func (h *Handler) loginFailed(r *http.Request, login store.Login, client model.Client, user model.User, err error) error {
	f := explain(err)
	h.cfg.Log.WarnContext(r.Context(), "login failed", "user", user.Name, "client", oauth.ClientName(client), "error", err)
	again := h.authorizeURL(again(login))
	if login.Set != (model.ForgejoTokens{}) && resumable(err) {
		again = h.resumeURL(r, nil)
	} else if !errors.Is(err, errNarrower) {
		h.drop(r.Context(), login)
	}
	m := pages.Message{Status: f.status, Title: f.title, Text: f.text}
	if f.revoke {
		m.Actions = append(m.Actions, pages.Action{Label: "Open Forgejo's settings", URL: template.URL(h.cfg.Forgejo.ApplicationsURL())})
	}
	m.Actions = append(m.Actions, pages.Action{Label: "Try again", URL: template.URL(again)})
	if errors.Is(err, errNarrower) {
		m.Actions = append(m.Actions, pages.Action{Label: "Continue with fewer permissions", URL: template.URL(h.resumeURL(r, url.Values{acceptParam: {"narrower"}}))})
	}
	m.Back = back(login.RedirectURI, h.backWithError(login.RedirectURI, login.ClientState, oauth.Errorf(f.code, "%s", f.text)))
	failed := audit.Event{Kind: audit.LoginFailed, User: user.Name, Client: oauth.ClientName(client), Outcome: f.outcome, Detail: err.Error(), Failed: true}
	return &site.Refusal{Message: m, Code: f.code, Events: []audit.Event{failed}}
}

// resumeURL leads back to the callback, without Forgejo's code: the login has
// its token set.
func (h *Handler) resumeURL(r *http.Request, params url.Values) string {
	v := url.Values{"state": {r.URL.Query().Get("state")}}
	for name := range params {
		v.Set(name, params.Get(name))
	}
	return h.cfg.Issuer + "/oauth/callback?" + v.Encode()
}

// again is the authorization request that a login came from.
func again(l store.Login) url.Values {
	v := url.Values{
		"response_type": {oauth.ResponseCode}, "client_id": {l.ClientID}, "redirect_uri": {l.RedirectURI}, "scope": {l.Requested},
		"code_challenge": {l.Challenge}, "code_challenge_method": {oauth.S256},
	}
	for name, value := range map[string]string{"state": l.ClientState, "resource": l.Resource} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v
}

// resumable reports whether the same token set may serve later: nothing was
// said against it.
func resumable(err error) bool {
	var e *forgejo.Error
	if errors.As(err, &e) {
		return e.Kind == forgejo.Down || e.Kind == forgejo.Misconfigured
	}
	return !errors.Is(err, errNarrower)
}

// failure is what a failed login looks like from outside.
type failure struct {
	status      int
	title, text string
	code        string // OAuth error for the client
	outcome     string // for the audit trail
	revoke      bool   // the user has to revoke the application at Forgejo
}

// explain is the one place that maps a failed login to an answer.
func explain(err error) failure {
	if errors.Is(err, errNarrower) {
		return failure{http.StatusForbidden, "An older permission is in the way",
			"Forgejo still holds an older authorization that allows less than this server asks for now, so some tools will not work. To renew it, revoke this application in Forgejo's settings under Applications, then try again.",
			oauth.AccessDenied, "scope_too_narrow", true}
	}
	var e *forgejo.Error
	if !errors.As(err, &e) {
		return failure{http.StatusServiceUnavailable, "Something went wrong here", "The server could not finish the login. Try again in a minute.", oauth.TemporarilyUnavailable, "error", false}
	}
	f := failure{http.StatusForbidden, "The login did not succeed", e.UserMessage(), oauth.AccessDenied, e.Kind.String(), false}
	switch e.Kind {
	case forgejo.Down:
		f.status, f.title, f.code = http.StatusServiceUnavailable, "Forgejo does not answer", oauth.TemporarilyUnavailable
		f.text = "Forgejo cannot be reached at the moment, so the login is not finished. Try again in a minute."
	case forgejo.Misconfigured:
		f.status, f.title, f.code = http.StatusBadGateway, "This server is not set up correctly", oauth.ServerError
	case forgejo.Suspended:
		f.title = "Your account may not sign in"
	case forgejo.ScopeTooBroad:
		f.title, f.revoke = "An older permission is in the way", true
	}
	return f
}
