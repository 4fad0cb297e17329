package authorize

import (
	"html/template"
	"net/http"
	"net/url"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/site"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

// broken is what people are told of a failure on our side.
var broken = site.Refusal{Code: oauth.TemporarilyUnavailable, Message: pages.Message{
	Status: http.StatusServiceUnavailable, Title: "Something went wrong here",
	Text: "The server cannot answer at the moment. Go back to your application and connect again in a minute.",
}}

// limit refuses if there were too many requests of this kind in the name of client.
func (h *Handler) limit(r *http.Request, l *ratelimit.Limiter, client string) error {
	wait := l.Take(r, client)
	if wait == 0 {
		return nil
	}
	return &site.Refusal{Code: oauth.TemporarilyUnavailable, Wait: wait, Message: pages.Message{
		Status: http.StatusTooManyRequests, Title: "Please wait a moment",
		Text: "There were too many requests from your network or by this application. Nothing was agreed to. Wait a minute, go back to your application and connect again.",
	}}
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

// sendBack returns to a client without a code. Only to what the operator vouches
// for does the browser go by itself: anybody may register any address, and the user
// has not agreed to be sent there, or has changed his mind (RFC 9700 §4.11.2).
func (h *Handler) sendBack(c model.Client, redirectURI, state string, e *oauth.Error, m pages.Message, events ...audit.Event) (site.Answer, error) {
	to := h.backWithError(redirectURI, state, e)
	if c.Kind == model.ClientOperator {
		return site.Answer{Location: to, Events: events}, nil
	}
	m.Back = back(redirectURI, to)
	return site.Answer{}, &site.Refusal{Message: m, Code: e.Code, Events: events}
}

// back is a link to a client. The redirect URI's scheme was checked at registration.
func back(redirectURI, to string) *pages.Back {
	return &pages.Back{Destination: destination(redirectURI), URL: template.URL(to)}
}
