package authorize

import (
	"errors"
	"html/template"
	"net/http"
	"net/url"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

// A login to the account page goes the same way as a client's, to the same
// callback, but has no client and ends in Config.SignedIn.

const accountForm = "account login" // purpose of its form token

// AccountForm is the form whose button starts a login to the account page.
func (h *Handler) AccountForm(w http.ResponseWriter, r *http.Request) *pages.Form {
	return &pages.Form{
		Label: "Log in with Forgejo", Action: h.accountURL() + "/login",
		Fields: []pages.Field{{Name: "form_token", Value: pages.FormToken(h.ensureBrowser(w, r), accountForm, nil)}},
	}
}

// BeginAccount takes that form.
func (h *Handler) BeginAccount(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if h.limited(w, r, h.cfg.Logins, "") {
		return
	}
	if !pages.ValidFormToken(r.PostFormValue("form_token"), h.browserOf(r), accountForm, nil) {
		h.respond(w, r, pages.Message{
			Status: http.StatusForbidden, Title: "Please try again",
			Text:    "This form does not belong to this browser, or cookies are switched off.",
			Actions: []pages.Action{{Label: "Try again", URL: template.URL(h.accountURL())}},
		}, oauth.AccessDenied)
		return
	}
	h.toForgejo(w, r, store.Login{})
}

func (h *Handler) accountURL() string { return h.cfg.Issuer + "/account" }

// accountCallback is Callback for a login without a client.
func (h *Handler) accountCallback(w http.ResponseWriter, r *http.Request, login store.Login) {
	query := r.URL.Query()
	if query.Get("error") == oauth.AccessDenied {
		h.drop(r.Context(), login)
		h.event(r.Context(), audit.Event{Kind: audit.LoginDenied, Outcome: "denied", Detail: "at forgejo, for the account page"})
		redirect(w, h.accountURL())
		return
	}
	user, err := h.logIn(r.Context(), &login, query)
	if err != nil && !identified(user, err) {
		h.accountFailed(w, r, login, user, err)
		return
	}
	h.drop(r.Context(), login)
	h.cfg.SignedIn(w, r, user)
}

// identified reports whether err says only that the user's grant at Forgejo is
// not the one to work with: who the user is was told all the same, and taking
// access back needs no more.
func identified(user model.User, err error) bool {
	var e *forgejo.Error
	tooBroad := errors.As(err, &e) && e.Kind == forgejo.ScopeTooBroad
	return user.ID != "" && (tooBroad || errors.Is(err, errNarrower))
}

func (h *Handler) accountFailed(w http.ResponseWriter, r *http.Request, login store.Login, user model.User, err error) {
	f := explain(err)
	h.cfg.Log.WarnContext(r.Context(), "login to the account page failed", "user", user.Name, "error", err)
	h.event(r.Context(), audit.Event{Kind: audit.LoginFailed, User: user.Name, Outcome: f.outcome, Detail: "for the account page: " + err.Error(), Failed: true})
	again := h.accountURL()
	if login.Set != (model.ForgejoTokens{}) && resumable(err) {
		again = h.resumeURL(r, url.Values{})
	} else {
		h.drop(r.Context(), login)
	}
	h.respond(w, r, pages.Message{
		Status: f.status, Title: f.title, Text: f.text, Actions: []pages.Action{{Label: "Try again", URL: template.URL(again)}},
	}, f.code)
}
