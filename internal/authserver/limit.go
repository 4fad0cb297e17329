package authserver

import (
	"net/http"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

// limits are those of the endpoints.
type limits struct{ register, authorize, login, token *ratelimit.Limiter }

func newLimits(cfg Config) limits {
	if cfg.Addresses == nil {
		cfg.Addresses = &ratelimit.Addresses{Log: cfg.Log}
	}
	of := func(rule ratelimit.Rule) *ratelimit.Limiter {
		return ratelimit.New(ratelimit.Config{Rule: rule, Addresses: cfg.Addresses, Audit: cfg.Audit, Now: cfg.Now})
	}
	return limits{of(ratelimit.Register), of(ratelimit.Authorize), of(ratelimit.Login), of(ratelimit.Token)}
}

// refused answers with 429 in place of e when there were too many failures of
// this kind, and reports whether it did. Failed token requests are limited, good
// ones never: a request is answered first and counted if it failed.
func (l limits) refused(w http.ResponseWriter, r *http.Request, e *oauth.Error) bool {
	if e.Code != oauth.InvalidClient && e.Code != oauth.InvalidGrant {
		return false
	}
	wait := l.token.Take(r, claimedClient(r))
	if wait == 0 {
		return false
	}
	ratelimit.SetRetryAfter(w, wait)
	httpserver.WriteJSON(w, http.StatusTooManyRequests, oauth.Errorf(oauth.TemporarilyUnavailable, "too many failed requests; this one failed as well: %s", e.Description))
	return true
}

// claimedClient is the client id a request states, true or not.
func claimedClient(r *http.Request) string {
	if id, _, ok := r.BasicAuth(); ok {
		return id
	}
	if id := r.PostForm.Get("client_id"); id != "" {
		return id
	}
	return "none stated"
}
