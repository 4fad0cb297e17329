package account

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"sync"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
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
	return pages.Form{Label: label, Action: h.url() + "/" + purpose, Fields: []pages.Field{
		{Name: "client", Value: client}, {Name: "form_token", Value: pages.FormToken(secret, purpose, params)},
	}}
}

// read checks a form, and whose it is. A refusal has been answered.
func (h *Handler) read(w http.ResponseWriter, r *http.Request, purpose string) (user model.User, client string, ok bool) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	client, token := r.PostFormValue("client"), r.PostFormValue("form_token")
	user, secret, err := h.session(r)
	switch {
	case errors.Is(err, errLoggedOut):
		h.refuse(w, r, "You are logged out", "Nothing was changed. Log in again to see your applications.")
		return user, "", false
	case err != nil:
		h.broken(w, r, "read a session of the account page", err)
		return user, "", false
	case !pages.ValidFormToken(token, secret, purpose, url.Values{"client": {client}}):
		h.refuse(w, r, "Please confirm again", "This form does not belong to your login, for instance because you have logged in again in another tab. Nothing was changed.")
		return user, "", false
	}
	return user, client, true
}

func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, title, text string) {
	h.written(r, pages.WriteMessage(w, pages.Message{
		Status: http.StatusForbidden, Title: title, Text: text,
		Actions: []pages.Action{{Label: "Show my applications", URL: template.URL(h.url())}},
	}))
}

// Logout ends the browser's session. A request without one changes nothing: it
// may come from another site, without the cookie that the browser has.
func (h *Handler) Logout(w http.ResponseWriter, r *http.Request) {
	if _, _, ok := h.read(w, r, purposeLogout); !ok {
		return
	}
	if err := h.endSession(r); err != nil {
		h.broken(w, r, "end a session of the account page", err)
		return
	}
	h.cookie().Clear(w)
	h.redirect(w, doneLogout)
}

// Disconnect ends one client's access, or that of all.
func (h *Handler) Disconnect(w http.ResponseWriter, r *http.Request) {
	user, client, ok := h.read(w, r, purposeDisconnect)
	if !ok {
		return
	}
	if err := h.disconnect(r.Context(), user, client); err != nil {
		h.broken(w, r, "disconnect a client", err)
		return
	}
	if client == "" {
		h.redirect(w, doneAll)
		return
	}
	h.redirect(w, doneOne)
}

// disconnect also goes on when the browser has left.
func (h *Handler) disconnect(ctx context.Context, user model.User, client string) error {
	ctx = context.WithoutCancel(ctx)
	grants, err := h.cfg.Store.Disconnect(ctx, user.ID, client)
	if err != nil {
		return err
	}
	var sessions sync.WaitGroup
	logins := map[string]int{}
	for _, g := range grants {
		logins[g.ClientID]++
		sessions.Go(func() { h.cfg.Revoked(ctx, g.ID) })
	}
	sessions.Wait()
	for id, n := range logins {
		h.cfg.Audit.Event(ctx, audit.Event{
			Kind: audit.Disconnected, User: user.Name, Client: h.clientName(ctx, id), Outcome: "ok", Detail: fmt.Sprintf("revoked %d login(s)", n),
		})
	}
	h.forget(ctx, user)
	return nil
}

// clientName is for the audit trail.
func (h *Handler) clientName(ctx context.Context, id string) string {
	c, err := h.cfg.Store.Client(ctx, id)
	if err != nil {
		return id
	}
	return oauth.ClientName(c)
}

// forget deletes Forgejo's token set if nothing can use it any more. It is no
// failure of the request when that does not work: access is taken back already.
func (h *Handler) forget(ctx context.Context, user model.User) {
	if _, err := h.cfg.Tokens.Forget(ctx, user.ID); err != nil {
		h.cfg.Log.ErrorContext(ctx, "cannot delete the forgejo tokens of a user without clients", "user", user.Name, "error", err)
	}
}
