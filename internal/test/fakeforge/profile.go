package fakeforge

import "time"

// Profile is what differs between the versions that have to be supported.
type Profile struct {
	Name    string
	Version string // as /api/v1/version tells it

	// RotateRefresh kills a refresh token when it is used or when the user logs
	// in again ([oauth2] INVALIDATE_REFRESH_TOKENS).
	RotateRefresh bool
	// SameRedirect wants redirect_uri at the token endpoint as it was at the
	// authorization endpoint.
	SameRedirect bool
	// CompareAndSwap makes check and increment of a grant's counter one step, so
	// that of several concurrent refreshes with one token a single one succeeds.
	// Without it some may, and all but the last answer are dead at once.
	CompareAndSwap bool
	// BindClient refuses a refresh token of another application.
	BindClient bool
	// ConsentPKCE keeps the code challenge through the consent page. Without it
	// any verifier is accepted for a code from that page.
	ConsentPKCE bool
	// CodeLifetime is how long a code is good; 0 means for ever.
	CodeLifetime time.Duration
	// IntrospectInactive answers active:false for a dead token, instead of 401.
	IntrospectInactive bool
}

// The version profiles.
var (
	Forgejo15 = Profile{
		Name: "forgejo15", Version: "15.0.3+gitea-1.22.0",
		RotateRefresh: true, CompareAndSwap: true, SameRedirect: true, BindClient: true, ConsentPKCE: true,
	}
	Forgejo14NoPKCE = Profile{
		Name: "forgejo14-nopkce", Version: "14.0.2+gitea-1.22.0",
		RotateRefresh: true,
	}
	Gitea126 = Profile{
		Name: "gitea126", Version: "1.26.0",
		BindClient: true, ConsentPKCE: true, CodeLifetime: 10 * time.Minute,
	}
)

// Profiles are all of them.
var Profiles = []Profile{Forgejo15, Forgejo14NoPKCE, Gitea126}
