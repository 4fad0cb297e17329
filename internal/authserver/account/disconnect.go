package account

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/site"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

// Purposes of form tokens; each is the last part of the form's URL.
const (
	purposeDisconnect = "disconnect"
	purposeLogout     = "logout"
)

// form is a button that sends what the session's holder alone can send. Without
// a client it is about all.
func (h *Handler) form(label, secret, purpose, client string) pages.Form {
	params := url.Values{"client": {client}}
	return pages.Form{Label: label, Action: h.cfg.AccountURL() + "/" + purpose, Fields: []pages.Field{
		{Name: "client", Value: client}, {Name: "form_token", Value: pages.FormToken(secret, purpose, params)},
	}}
}

// read checks a form, and whose it is.
func (h *Handler) read(r *http.Request, purpose string) (user model.User, client string, err error) {
	r.Body = http.MaxBytesReader(nil, r.Body, maxForm)
	client, token := r.PostFormValue("client"), r.PostFormValue("form_token")
	user, secret, err := h.session(r)
	switch {
	case errors.Is(err, errLoggedOut):
		return user, "", h.refusal("You are logged out", "Nothing was changed. Log in again to see your applications.")
	case err == nil && !pages.ValidFormToken(token, secret, purpose, url.Values{"client": {client}}):
		return user, "", h.refusal("Please confirm again", "This form does not belong to your login, for instance because you have logged in again in another tab. Nothing was changed.")
	}
	return user, client, err
}

func (h *Handler) refusal(title, text string) *site.Refusal {
	return site.Refuse(http.StatusForbidden, "", title, text, pages.Link("Show my applications", h.cfg.AccountURL()))
}

// done goes to the page and has it say what was done.
func (h *Handler) done(what string) site.Answer {
	return site.Answer{Location: h.cfg.AccountURL() + "?" + url.Values{"done": {what}}.Encode()}
}

// logout ends the browser's session. A request without one changes nothing: it
// may come from another site, without the cookie that the browser has.
func (h *Handler) logout(r *http.Request) (site.Answer, error) {
	if _, _, err := h.read(r, purposeLogout); err != nil {
		return site.Answer{}, err
	}
	if err := h.endSession(r); err != nil {
		return site.Answer{}, fmt.Errorf("cannot end a session of the account page: %w", err)
	}
	answer := h.done(doneLogout)
	answer.Cookie = h.cookie().Without()
	return answer, nil
}

// disconnect ends one client's access, or that of all, also when the browser has left.
func (h *Handler) disconnect(r *http.Request) (site.Answer, error) {
	user, client, err := h.read(r, purposeDisconnect)
	if err != nil {
		return site.Answer{}, err
	}
	ctx := context.WithoutCancel(r.Context())
	grants, err := h.cfg.Store.Disconnect(ctx, user.ID, client)
	if err != nil {
		return site.Answer{}, fmt.Errorf("cannot disconnect a client: %w", err)
	}
	var sessions sync.WaitGroup
	logins := map[string]int{}
	for _, g := range grants {
		logins[g.ClientID]++
		sessions.Go(func() { h.cfg.Revoked(ctx, g.ID) })
	}
	sessions.Wait()
	h.cfg.Unneeded(ctx, user.ID, user.Name)
	answer := h.done(doneOne)
	if client == "" {
		answer = h.done(doneAll)
	}
	for id, n := range logins {
		answer.Events = append(answer.Events, audit.Event{
			Kind: audit.Disconnected, User: user.Name, Client: h.clientName(ctx, id), Outcome: "ok", Detail: fmt.Sprintf("revoked %d login(s)", n),
		})
	}
	return answer, nil
}

// clientName is for the audit trail.
func (h *Handler) clientName(ctx context.Context, id string) string {
	c, err := h.cfg.Store.Client(ctx, id)
	if err != nil {
		return id
	}
	return oauth.ClientName(c)
}
