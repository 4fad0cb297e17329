package authorize

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/site"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

// The account page is where users see what they have connected and take access back. Its
// session is a cookie, whose hash is stored. Each form is bound to that and to the client
// it names, so that no other page can send one.
const (
	idleTime = time.Hour      // a session ends when unused for this long
	lifeTime = 12 * time.Hour // and then in any case
)

func (h *Handler) accountCookie() pages.Cookie { return h.cfg.Cookie("fjmcp-account") }

// A login to the account page goes the same way as a client's, to the same
// callback, but has no client and ends in signedIn.

const accountForm = "account login" // purpose of its form token

// loginForm is the form whose button starts a login to the account page, with the
// cookie that it needs, nil if the browser has it.
func (h *Handler) loginForm(r *http.Request) (*pages.Form, *http.Cookie) {
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

// signedIn ends a login with a session for the browser, in place of any it had.
func (h *Handler) signedIn(r *http.Request, login store.Login, user model.User) (site.Answer, error) {
	value, now := model.NewToken(""), h.cfg.Now()
	err := h.endSession(r)
	if err == nil {
		err = h.cfg.Store.FinishAccountLogin(r.Context(), login.StateHash, store.AccountSession{
			Hash: model.Hash(value), UserID: user.ID, IdleAt: now.Add(idleTime), ExpiresAt: now.Add(lifeTime),
		})
	}
	if err != nil {
		return site.Answer{}, h.unfinished(r, login, model.Client{}, user, err)
	}
	h.cfg.Unneeded(r.Context(), user.ID, user.Name) // the login brought a set
	return site.Answer{
		Location: h.cfg.AccountURL(), Cookie: h.accountCookie().With(value),
		Events: []audit.Event{site.Event(audit.AccountLogin, user, model.Client{})},
	}, nil
}

// showAccount shows the user's connected clients, or the way to log in.
func (h *Handler) showAccount(r *http.Request) (site.Answer, error) {
	user, secret, err := h.session(r)
	if errors.Is(err, errLoggedOut) {
		return h.loginPage(r), nil
	}
	if err != nil {
		return site.Answer{}, err
	}
	connections, err := h.cfg.Store.Connections(r.Context(), user.ID)
	if err != nil {
		return site.Answer{}, fmt.Errorf("cannot read the connected clients of a user: %w", err)
	}
	return site.Answer{Page: h.accountPage(user, secret, connections, r.URL.Query().Get("done"))}, nil
}

func (h *Handler) loginPage(r *http.Request) site.Answer {
	form, cookie := h.loginForm(r)
	m := pages.Message{
		Status: http.StatusOK, Title: "Connected applications", Form: form,
		Text: "Log in to see which applications can use your account at " + h.cfg.ForgeHost() + ", and to disconnect them.",
	}
	if r.URL.Query().Get("done") == doneLogout {
		m.Notice = "You are logged out here. You may still be logged in at Forgejo."
	}
	return site.Answer{Page: m, Cookie: cookie}
}

// errLoggedOut says that the request has no session that lives.
var errLoggedOut = errors.New("logged out")

// session returns who is logged in, and the value that forms are bound to.
func (h *Handler) session(r *http.Request) (model.User, string, error) {
	secret := h.accountCookie().Value(r)
	if secret == "" {
		return model.User{}, "", errLoggedOut
	}
	user, err := h.cfg.Store.UseAccountSession(r.Context(), model.Hash(secret), idleTime)
	if errors.Is(err, model.ErrNotFound) || errors.Is(err, model.ErrExpired) {
		return user, "", errLoggedOut
	}
	if err != nil {
		err = fmt.Errorf("cannot read a session of the account page: %w", err)
	}
	return user, secret, err
}

// endSession ends the session of the browser, if it has one.
func (h *Handler) endSession(r *http.Request) error {
	return h.cfg.Store.DeleteAccountSession(r.Context(), model.Hash(h.accountCookie().Value(r)))
}

// Values of the parameter done, which names what has just been done.
const (
	doneOne    = "disconnected"
	doneAll    = "all"
	doneLogout = "logout"
)

// accountPage describes the page. A notice is shown only if what it tells is so: anyone
// can make a link with a parameter.
func (h *Handler) accountPage(user model.User, secret string, connections []store.Connection, done string) pages.Account {
	a := pages.Account{
		User: user.Name, Now: h.cfg.Now(), Settings: template.URL(h.cfg.Forgejo.ApplicationsURL()),
		Fewer: h.cfg.Issuer + "/#fewer",
		All:   h.form("Yes, disconnect all", secret, purposeDisconnect, ""), Logout: h.form("Log out", secret, purposeLogout, ""),
	}
	for _, c := range connections {
		a.Connections = append(a.Connections, h.connection(user, secret, c))
	}
	switch {
	case done == doneAll && len(connections) == 0:
		a.Notice = "All applications are disconnected and their sessions have ended."
	case done == doneOne:
		a.Notice = "The application is disconnected and its sessions have ended."
	}
	return a
}

func (h *Handler) connection(user model.User, secret string, c store.Connection) pages.Connection {
	v := pages.Connection{
		Client: oauth.ClientName(c.Client()), ID: model.ShortID(c.ClientID), Publisher: oauth.Publisher(c.Client()),
		Host: oauth.RedirectHost(c.RedirectURI), ReadOnly: c.ReadOnly(), First: c.FirstUsedAt, Last: c.LastUsedAt, Sessions: c.Sessions,
		Disconnect: h.form("Yes, disconnect it", secret, purposeDisconnect, c.ClientID),
	}
	if h.cfg.Running != nil {
		n, used := h.cfg.Running(user.ID, c.ClientID)
		v.Running = min(n, c.Sessions)
		if used.After(v.Last) {
			v.Last = used
		}
	}
	return v
}

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

// readForm checks a form, and whose it is.
func (h *Handler) readForm(r *http.Request, purpose string) (user model.User, client string, err error) {
	client, token := r.PostFormValue("client"), r.PostFormValue("form_token")
	user, secret, err := h.session(r)
	switch {
	case errors.Is(err, errLoggedOut):
		return user, "", h.refusal("You are logged out", "Nothing was changed. Log in again to see your applications.")
	case err == nil && !pages.ValidFormToken(token, secret, purpose, url.Values{"client": {client}}):
		return user, "", h.refusal("Please confirm again", "This form does not belong to your login, for instance because you "+
			"have logged in again in another tab. Nothing was changed.")
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
	if _, _, err := h.readForm(r, purposeLogout); err != nil {
		return site.Answer{}, err
	}
	if err := h.endSession(r); err != nil {
		return site.Answer{}, fmt.Errorf("cannot end a session of the account page: %w", err)
	}
	answer := h.done(doneLogout)
	answer.Cookie = h.accountCookie().Without()
	return answer, nil
}

// disconnect ends one client's access, or that of all, also when the browser has left.
func (h *Handler) disconnect(r *http.Request) (site.Answer, error) {
	user, client, err := h.readForm(r, purposeDisconnect)
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
		c, err := h.cfg.Store.Client(ctx, id)
		if err != nil {
			c = model.Client{ID: id, Name: id}
		}
		e := site.Event(audit.Disconnected, user, c)
		e.Detail = fmt.Sprintf("revoked %d login(s)", n)
		answer.Events = append(answer.Events, e)
	}
	return answer, nil
}
