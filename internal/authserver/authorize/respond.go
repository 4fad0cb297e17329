package authorize

import (
	"html/template"
	"net/http"
	"net/url"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

// respond sends a page to a person, or an OAuth error to a program.
func (h *Handler) respond(w http.ResponseWriter, r *http.Request, m pages.Message, code string) {
	if pages.PrefersJSON(r) {
		httpserver.WriteJSON(w, m.Status, oauth.Errorf(code, "%s", m.Text))
		return
	}
	if err := pages.WriteMessage(w, m); err != nil {
		h.cfg.Log.ErrorContext(r.Context(), "cannot write a page", "error", err)
	}
}

// broken tells of a failure on our side and logs its cause.
func (h *Handler) broken(w http.ResponseWriter, r *http.Request, what string, err error) {
	h.cfg.Log.ErrorContext(r.Context(), "cannot "+what, "error", err)
	h.respond(w, r, pages.Message{
		Status: http.StatusServiceUnavailable, Title: "Something went wrong here",
		Text: "The server cannot answer at the moment. Go back to your application and connect again in a minute.",
	}, oauth.TemporarilyUnavailable)
}

// limited answers with 429 if there were too many requests of this kind in the
// name of client, and reports whether it did.
func (h *Handler) limited(w http.ResponseWriter, r *http.Request, l *ratelimit.Limiter, client string) bool {
	wait := l.Take(r, client)
	if wait == 0 {
		return false
	}
	ratelimit.SetRetryAfter(w, wait)
	h.respond(w, r, pages.Message{
		Status: http.StatusTooManyRequests, Title: "Please wait a moment",
		Text: "There were too many requests from your network or by this application. Nothing was agreed to. Wait a minute, go back to your application and connect again.",
	}, oauth.TemporarilyUnavailable)
	return true
}

// back is the URL that returns to the client: params plus state, and iss as
// RFC 9207 wants it.
func (h *Handler) back(redirectURI, state string, params url.Values) string {
	if state != "" {
		params.Set("state", state)
	}
	params.Set("iss", h.cfg.Issuer)
	return oauth.WithParams(redirectURI, params)
}

func (h *Handler) backWithError(redirectURI, state string, e *oauth.Error) string {
	return h.back(redirectURI, state, url.Values{"error": {e.Code}, "error_description": {e.Description}})
}

// redirect sends the browser on with 303, so that a form is not sent again.
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
}

// sendBack returns to a client without a code. Only to what the operator vouches
// for does the browser go by itself: anybody may register any address, and the user
// has not agreed to be sent there, or has changed his mind (RFC 9700 §4.11.2).
func (h *Handler) sendBack(w http.ResponseWriter, r *http.Request, c model.Client, redirectURI, to string, m pages.Message, code string) {
	if c.Kind == model.ClientOperator {
		redirect(w, to)
		return
	}
	m.Back = back(redirectURI, to)
	h.respond(w, r, m, code)
}

// back is a link to a client. The redirect URI's scheme was checked at registration.
func back(redirectURI, to string) *pages.Back {
	return &pages.Back{Destination: destination(redirectURI), URL: template.URL(to)}
}
