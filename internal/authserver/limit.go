package authserver

import "github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"

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
