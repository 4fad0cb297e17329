package authserver

import (
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/broker"
	"github.com/fjmcp/fjmcp-broker/internal/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/web"
)

// writeJSON sends v and keeps it out of every cache: most answers hold secrets,
// and the rest change with the configuration.
func writeJSON(w http.ResponseWriter, status int, v any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // fails only when the client has gone
}

func writeError(w http.ResponseWriter, e *oauth.Error) { writeJSON(w, e.Status(), e) }

// cors opens an endpoint without cookies to pages of any origin, answers their
// preflight, and refuses methods other than the given one.
func cors(h http.HandlerFunc, method string) http.Handler {
	allow := method + ", OPTIONS"
	if method == http.MethodGet {
		allow = "GET, HEAD, OPTIONS"
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		switch {
		case r.Method == http.MethodOptions:
			w.Header().Set("Access-Control-Allow-Methods", allow)
			w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Accept, MCP-Protocol-Version")
			w.Header().Set("Access-Control-Max-Age", "86400")
			w.WriteHeader(http.StatusNoContent)
		case r.Method == method, method == http.MethodGet && r.Method == http.MethodHead:
			h(w, r)
		default:
			w.Header().Set("Allow", allow)
			writeJSON(w, http.StatusMethodNotAllowed, oauth.Errorf(oauth.InvalidRequest, "use %s", method))
		}
	})
}

// refusal maps the store's and Forgejo's words to what a client is told. It is
// the one place that does. Anything unknown is logged by the caller and told
// without detail.
func refusal(err error) *oauth.Error {
	var e *oauth.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, broker.ErrNotFound):
		return oauth.Errorf(oauth.InvalidGrant, "it is unknown, or was issued to another client")
	case errors.Is(err, broker.ErrExpired):
		return oauth.Errorf(oauth.InvalidGrant, "it has expired")
	case errors.Is(err, broker.ErrReused):
		return oauth.Errorf(oauth.InvalidGrant, "it was already used; all tokens of this login are revoked")
	case errors.Is(err, broker.ErrRevoked):
		return oauth.Errorf(oauth.InvalidGrant, "the login behind it was revoked")
	case errors.Is(err, broker.ErrForgejoGrantDead):
		return oauth.Errorf(oauth.InvalidGrant, "forgejo no longer accepts this login; log in again")
	}
	return oauth.Errorf(oauth.TemporarilyUnavailable, "the server cannot answer at the moment; try again")
}

// unexpected reports whether refusal had no words for err.
func unexpected(err error) bool { return refusal(err).Code == oauth.TemporarilyUnavailable }

// respond sends a page to a person, or an OAuth error to a program.
func (s *Server) respond(w http.ResponseWriter, r *http.Request, m web.Message, code string) {
	if web.PrefersJSON(r) {
		writeJSON(w, m.Status, oauth.Errorf(code, "%s", m.Text))
		return
	}
	if err := web.WriteMessage(w, m); err != nil {
		s.cfg.Log.ErrorContext(r.Context(), "cannot write a page", "error", err)
	}
}

// broken tells of a failure on our side and logs its cause.
func (s *Server) broken(w http.ResponseWriter, r *http.Request, what string, err error) {
	s.cfg.Log.ErrorContext(r.Context(), "cannot "+what, "error", err)
	s.respond(w, r, web.Message{
		Status: http.StatusServiceUnavailable, Title: "Something went wrong here",
		Text: "The server cannot answer at the moment. Go back to your application and connect again in a minute.",
	}, oauth.TemporarilyUnavailable)
}

// back is the URL that returns to the client: params plus state, and iss as
// RFC 9207 wants it.
func (s *Server) back(redirectURI, state string, params url.Values) string {
	if state != "" {
		params.Set("state", state)
	}
	params.Set("iss", s.issuer)
	return oauth.WithParams(redirectURI, params)
}

func (s *Server) backWithError(redirectURI, state string, e *oauth.Error) string {
	return s.back(redirectURI, state, url.Values{"error": {e.Code}, "error_description": {e.Description}})
}

// redirect sends the browser on with 303, so that a form is not sent again.
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
}

// backAction is a button that returns to the client. The redirect URI's scheme
// was checked at registration.
func backAction(client, url string) web.Action {
	return web.Action{Label: "Back to " + client, URL: template.URL(url)}
}

func (s *Server) forgeHost() string {
	_, host, _ := strings.Cut(s.cfg.Forgejo.Origin(), "://")
	return host
}
