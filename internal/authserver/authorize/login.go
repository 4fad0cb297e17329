package authorize

import (
	"net/http"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/clientauth"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/site"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

// Config is what a Handler needs. All fields but the limiters and Running are required.
type Config struct {
	*site.Site
	Clients *clientauth.Clients
	// Authorizations limits consent pages, Logins the answers to them and logins
	// to the account page.
	Authorizations, Logins *ratelimit.Limiter
	UserCodes              *ratelimit.Limiter // limits entries of devices' codes
	Addresses              *ratelimit.Addresses
	// Running, if set, counts the running sessions between a user and a client, and tells
	// when one was last used.
	Running func(userID, clientID string) (n int, lastUsed time.Time)
}

// broken is what people are told of a failure on our side.
var broken = site.Refuse(http.StatusServiceUnavailable, oauth.TemporarilyUnavailable, "Something went wrong here",
	"The server cannot answer at the moment. Go back to your application and connect again in a minute.")

// Handler serves the authorization endpoint, the callback and the account page. It is safe for
// concurrent use.
type Handler struct{ cfg Config }

// New returns a Handler.
func New(cfg Config) *Handler { return &Handler{cfg} }

// Routes registers the endpoints below prefix.
func (h *Handler) Routes(mux *http.ServeMux, prefix string) {
	h.Authorize(mux, prefix+"/oauth/authorize")
	if h.cfg.DeviceGrant {
		h.deviceRoutes(mux, prefix)
	}
	mux.Handle("GET "+prefix+"/oauth/callback", h.cfg.Serve(h.callback, broken))
	mux.Handle("POST "+prefix+"/account/login", h.cfg.Serve(h.beginAccount, broken))
	broken := site.Refuse(http.StatusServiceUnavailable, "", "Something went wrong here",
		"The server cannot answer at the moment. Try again in a minute.", pages.Link("Try again", h.cfg.AccountURL()))
	mux.Handle("GET "+prefix+"/account", h.cfg.Serve(h.showAccount, broken))
	mux.Handle("POST "+prefix+"/account/disconnect", h.cfg.Serve(h.disconnect, broken))
	mux.Handle("POST "+prefix+"/account/logout", h.cfg.Serve(h.logout, broken))
}

// Authorize registers the authorization endpoint at path.
func (h *Handler) Authorize(mux *http.ServeMux, path string) {
	mux.Handle("GET "+path, h.cfg.Serve(h.page, broken))
	mux.Handle("POST "+path, h.cfg.Serve(h.decide, broken))
}

// browserOf returns the value of the cookie that binds the forms and the login to one
// browser, "" if it has none. It is random and says nothing about a user.
func (h *Handler) browserOf(r *http.Request) string {
	return h.cfg.Cookie("fjmcp-browser").Value(r)
}

// ensureBrowser returns that value, and for a browser that has none one with its cookie.
func (h *Handler) ensureBrowser(r *http.Request) (string, *http.Cookie) {
	if value := h.browserOf(r); value != "" {
		return value, nil
	}
	value := model.NewToken("")
	return value, h.cfg.Cookie("fjmcp-browser").With(value)
}

// limit refuses if there were too many requests of this kind in the name of client.
func (h *Handler) limit(r *http.Request, l *ratelimit.Limiter, client string) error {
	wait := l.Take(r, client)
	if wait == 0 {
		return nil
	}
	refused := site.Refuse(http.StatusTooManyRequests, oauth.TemporarilyUnavailable, "Please wait a moment",
		"There were too many requests from your network or by this application. Nothing was agreed to. "+
			"Wait a minute, go back to your application and connect again.")
	refused.Wait = wait
	return refused
}
