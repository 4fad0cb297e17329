package authorize

import (
	"errors"
	"net/http"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/site"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

// A login to the account page goes the same way as a client's, to the same
// callback, but has no client and ends in Config.SignedIn.

const accountForm = "account login" // purpose of its form token

// AccountForm is the form whose button starts a login to the account page, with the
// cookie that it needs, nil if the browser has it.
func (h *Handler) AccountForm(r *http.Request) (*pages.Form, *http.Cookie) {
	browser, cookie := h.ensureBrowser(r)
	return &pages.Form{
		Label: "Log in with Forgejo", Action: h.cfg.AccountURL() + "/login",
		Fields: []pages.Field{{Name: "form_token", Value: pages.FormToken(browser, accountForm, nil)}},
	}, cookie
}

// beginAccount takes that form.
func (h *Handler) beginAccount(r *http.Request) (site.Answer, error) {
	if err := h.limit(r, h.cfg.Logins, ""); err != nil {
		return site.Answer{}, err
	}
	if !pages.ValidFormToken(r.PostFormValue("form_token"), h.browserOf(r), accountForm, nil) {
		return site.Answer{}, site.Refuse(http.StatusForbidden, oauth.AccessDenied, "Please try again",
			"This form does not belong to this browser, or cookies are switched off.", pages.Link("Try again", h.cfg.AccountURL()))
	}
	return h.toForgejo(r, store.Login{})
}

// accountCallback is callback for a login without a client.
func (h *Handler) accountCallback(r *http.Request, login store.Login) (site.Answer, error) {
	query := r.URL.Query()
	if query.Get("error") == oauth.AccessDenied {
		h.drop(r.Context(), login)
		denied := audit.Event{Kind: audit.LoginDenied, Outcome: "denied", Detail: "at forgejo, for the account page"}
		return site.Answer{Location: h.cfg.AccountURL(), Events: []audit.Event{denied}}, nil
	}
	user, err := h.logIn(r.Context(), &login, query)
	if err != nil && !identified(user, err) {
		return site.Answer{}, h.failed(r, login, model.Client{}, user, err)
	}
	h.drop(r.Context(), login)
	return h.cfg.SignedIn(r, user)
}

// identified reports whether err says only that the user's grant at Forgejo is
// not the one to work with: who the user is was told all the same, and taking
// access back needs no more.
func identified(user model.User, err error) bool {
	var e *forgejo.Error
	tooBroad := errors.As(err, &e) && e.Kind == forgejo.ScopeTooBroad
	return user.ID != "" && (tooBroad || errors.Is(err, errNarrower))
}
