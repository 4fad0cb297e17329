package account

import (
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/site"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

const (
	idleTime = time.Hour      // a session ends when unused for this long
	lifeTime = 12 * time.Hour // and then in any case
	maxForm  = 16 << 10       // bytes
)

// Config is what a Handler needs. All fields but Running are required.
type Config struct {
	*site.Site
	// LoginForm starts a login that ends in SignedIn; the browser needs the cookie for it.
	LoginForm func(*http.Request) (*pages.Form, *http.Cookie)
	// Running counts the running sessions between a user and a client, and tells
	// when one was last used. Without it none is known to run.
	Running func(userID, clientID string) (n int, lastUsed time.Time)
}

// Handler serves the account page. It is safe for concurrent use.
type Handler struct{ cfg Config }

// New returns a Handler.
func New(cfg Config) *Handler { return &Handler{cfg: cfg} }

// Routes registers the page below prefix.
func (h *Handler) Routes(mux *http.ServeMux, prefix string) {
	broken := site.Refuse(http.StatusServiceUnavailable, "", "Something went wrong here",
		"The server cannot answer at the moment. Try again in a minute.", pages.Link("Try again", h.cfg.AccountURL()))
	mux.Handle("GET "+prefix+"/account", h.cfg.Serve(h.show, broken))
	mux.Handle("POST "+prefix+"/account/disconnect", h.cfg.Serve(h.disconnect, broken))
	mux.Handle("POST "+prefix+"/account/logout", h.cfg.Serve(h.logout, broken))
}

func (h *Handler) cookie() pages.Cookie { return h.cfg.Cookie("fjmcp-account") }

// SignedIn gives the browser of a user who has just logged in a session, in
// place of any it had.
func (h *Handler) SignedIn(r *http.Request, user model.User) (site.Answer, error) {
	value, now := model.NewToken(""), h.cfg.Now()
	err := errors.Join(h.endSession(r), h.cfg.Store.CreateAccountSession(r.Context(), store.AccountSession{
		Hash: model.Hash(value), UserID: user.ID, IdleAt: now.Add(idleTime), ExpiresAt: now.Add(lifeTime),
	}))
	if err != nil {
		return site.Answer{}, fmt.Errorf("cannot store a login to the account page: %w", err)
	}
	h.cfg.Unneeded(r.Context(), user.ID, user.Name) // the login brought a set
	return site.Answer{
		Location: h.cfg.AccountURL(), Cookie: h.cookie().With(value),
		Events: []audit.Event{{Kind: audit.AccountLogin, User: user.Name, Outcome: "ok"}},
	}, nil
}

// show shows the user's connected clients, or the way to log in.
func (h *Handler) show(r *http.Request) (site.Answer, error) {
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
	return site.Answer{Page: h.page(user, secret, connections, r.URL.Query().Get("done"))}, nil
}

func (h *Handler) loginPage(r *http.Request) site.Answer {
	form, cookie := h.cfg.LoginForm(r)
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
	secret := h.cookie().Value(r)
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

func (h *Handler) endSession(r *http.Request) error {
	secret := h.cookie().Value(r)
	if secret == "" {
		return nil
	}
	return h.cfg.Store.DeleteAccountSession(r.Context(), model.Hash(secret))
}

// Values of the parameter done, which names what has just been done.
const (
	doneOne    = "disconnected"
	doneAll    = "all"
	doneLogout = "logout"
)

// page describes the page. A notice is shown only if what it tells is so: anyone
// can make a link with a parameter.
func (h *Handler) page(user model.User, secret string, connections []store.Connection, done string) pages.Account {
	a := pages.Account{
		User: user.Name, Forge: h.cfg.ForgeHost(), Now: h.cfg.Now(), Settings: template.URL(h.cfg.Forgejo.ApplicationsURL()),
		All: h.form("Disconnect all", secret, purposeDisconnect, ""), Logout: h.form("Log out", secret, purposeLogout, ""),
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
		Client: oauth.ClientName(c.Client()), Publisher: oauth.Publisher(c.Client()), Host: oauth.RedirectHost(c.RedirectURI), ReadOnly: c.ReadOnly(),
		First: c.FirstUsedAt, Last: c.LastUsedAt, Sessions: c.Sessions,
		Disconnect: h.form("Disconnect", secret, purposeDisconnect, c.ClientID),
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
