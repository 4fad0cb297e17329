package account

import (
	"context"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/tokens"
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
	Issuer  string // public URL of the server, without trailing slash
	Store   *store.Store
	Forgejo *forgejo.Client
	Tokens  *tokens.Tokens
	Audit   *audit.Logger
	Log     *slog.Logger
	Now     func() time.Time
	// LoginForm starts a login that ends in SignedIn.
	LoginForm func(http.ResponseWriter, *http.Request) *pages.Form
	// Revoked ends the sessions of a revoked grant.
	Revoked func(ctx context.Context, grantID string)
	// Running counts the running sessions between a user and a client, and tells
	// when one was last used. Without it none is known to run.
	Running func(userID, clientID string) (n int, lastUsed time.Time)
}

// Handler serves the account page. It is safe for concurrent use.
type Handler struct{ cfg Config }

// New returns a Handler.
func New(cfg Config) *Handler { return &Handler{cfg: cfg} }

func (h *Handler) url() string { return h.cfg.Issuer + "/account" }

func (h *Handler) cookie() pages.Cookie {
	return pages.Cookie{Name: "fjmcp-account", Secure: strings.HasPrefix(h.cfg.Issuer, "https:")}
}

// SignedIn gives the browser of a user who has just logged in a session, in
// place of any it had.
func (h *Handler) SignedIn(w http.ResponseWriter, r *http.Request, user model.User) {
	value, now := model.NewToken(""), h.cfg.Now()
	err := errors.Join(h.endSession(r), h.cfg.Store.CreateAccountSession(r.Context(), store.AccountSession{
		Hash: model.Hash(value), UserID: user.ID, IdleAt: now.Add(idleTime), ExpiresAt: now.Add(lifeTime),
	}))
	if err != nil {
		h.broken(w, r, "store a login to the account page", err)
		return
	}
	h.cfg.Audit.Event(r.Context(), audit.Event{Kind: audit.AccountLogin, User: user.Name, Outcome: "ok"})
	h.forget(r.Context(), user) // the login brought a set, which nothing may need
	h.cookie().Set(w, value)
	h.redirect(w, "")
}

// Page shows the user's connected clients, or the way to log in.
func (h *Handler) Page(w http.ResponseWriter, r *http.Request) {
	user, secret, err := h.session(r)
	switch {
	case errors.Is(err, errLoggedOut):
		h.loginPage(w, r)
		return
	case err != nil:
		h.broken(w, r, "read a session of the account page", err)
		return
	}
	connections, err := h.cfg.Store.Connections(r.Context(), user.ID)
	if err != nil {
		h.broken(w, r, "read the connected clients of a user", err)
		return
	}
	h.written(r, pages.WriteAccount(w, h.page(user, secret, connections, r.URL.Query().Get("done"))))
}

func (h *Handler) loginPage(w http.ResponseWriter, r *http.Request) {
	m := pages.Message{
		Status: http.StatusOK, Title: "Connected applications",
		Text: "Log in to see which applications can use your account at " + h.forgeHost() + ", and to disconnect them.",
		Form: h.cfg.LoginForm(w, r),
	}
	if r.URL.Query().Get("done") == doneLogout {
		m.Notice = "You are logged out here. You may still be logged in at Forgejo."
	}
	h.written(r, pages.WriteMessage(w, m))
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
		err = errLoggedOut
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

func (h *Handler) forgeHost() string {
	_, host, _ := strings.Cut(h.cfg.Forgejo.Origin(), "://")
	return host
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
		User: user.Name, Forge: h.forgeHost(), Now: h.cfg.Now(), Settings: template.URL(h.cfg.Forgejo.ApplicationsURL()),
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

// redirect goes to the page, by 303, so that a form is not sent again.
func (h *Handler) redirect(w http.ResponseWriter, done string) {
	to := h.url()
	if done != "" {
		to += "?" + url.Values{"done": {done}}.Encode()
	}
	w.Header().Set("Location", to)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusSeeOther)
}

func (h *Handler) broken(w http.ResponseWriter, r *http.Request, what string, err error) {
	h.cfg.Log.ErrorContext(r.Context(), "cannot "+what, "error", err)
	h.written(r, pages.WriteMessage(w, pages.Message{
		Status: http.StatusServiceUnavailable, Title: "Something went wrong here",
		Text:    "The server cannot answer at the moment. Try again in a minute.",
		Actions: []pages.Action{{Label: "Try again", URL: template.URL(h.url())}},
	}))
}

func (h *Handler) written(r *http.Request, err error) {
	if err != nil {
		h.cfg.Log.ErrorContext(r.Context(), "cannot write a page", "error", err)
	}
}
