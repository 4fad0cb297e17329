package forgejo

import (
	"fmt"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// Kind says what a failure at Forgejo means for the person and the operator.
type Kind int

const (
	// Down: no usable answer (unreachable, timeout, 5xx, HTML where JSON was
	// due). Trying later may help; nothing about the user's login is known.
	Down Kind = iota + 1
	// GrantDead: a definite refusal of the user's tokens. Only a new login helps.
	GrantDead
	// Misconfigured: the OAuth application, its secret or the forge's URL is
	// wrong. Only the operator can help; logins that stand are not lost.
	Misconfigured
	// Suspended: the account may not sign in at Forgejo.
	Suspended
	// ScopeTooBroad: Forgejo granted more than was asked for, because an older
	// grant with another scope stands.
	ScopeTooBroad
	// Denied: this one login attempt was refused, by the person or by Forgejo.
	// Starting again may help.
	Denied
)

// kinds says what each is called, in snake case, and what a person is told.
var kinds = [...]struct{ name, message string }{
	Down:          {"down", "Forgejo is not reachable at the moment. Try again later; there is no need to log in again."},
	GrantDead:     {"grant_dead", "Forgejo no longer accepts this login. Log in again."},
	Misconfigured: {"misconfigured", "This server's connection to Forgejo is not set up correctly. Tell its operator; logging in again does not help."},
	Suspended:     {"suspended", "Forgejo does not let this account sign in. Ask the administrators of the forge."},
	ScopeTooBroad: {"scope_too_broad", "Forgejo still holds an older authorization with other permissions. " +
		"Revoke this application in Forgejo's settings under Applications, then log in again."},
	Denied: {"denied", "Forgejo did not complete this login. Start again."},
}

// String returns the kind's name, as logs and audit events use it.
func (k Kind) String() string { return kinds[k].name }

// Error is every failure of this package that came from talking to Forgejo.
// Error() is for the operator's log; UserMessage is what a person may see.
// Neither holds a token, code, verifier or secret, nor any text Forgejo sent.
type Error struct {
	Kind   Kind
	Op     string // what was tried: "refresh the login", "read the user's identity"
	Status int    // HTTP status; 0 when no answer came
	Code   string // OAuth `error` code, when one came (RFC 6749 §5.2)
	Detail string // for the operator: what happened and what to check
	cause  error
}

// Error returns the operator's wording.
func (e *Error) Error() string {
	s := "cannot " + e.Op + " at forgejo: " + e.Detail
	switch {
	case e.Code != "":
		s += fmt.Sprintf(" (HTTP %d, %s)", e.Status, e.Code)
	case e.Status != 0:
		s += fmt.Sprintf(" (HTTP %d)", e.Status)
	}
	return s
}

// UserMessage says in one or two sentences what the person can do.
func (e *Error) UserMessage() string { return kinds[e.Kind].message }

// Unwrap ties kinds to the broker's sentinels. Misconfigured counts as
// ErrForgejoDown, too: the user's login may be perfectly good, so no client may be
// told to log in again because of it.
func (e *Error) Unwrap() []error {
	var errs []error
	switch e.Kind {
	case Down:
		errs = append(errs, model.ErrForgejoDown)
	case Misconfigured:
		errs = append(errs, model.ErrForgejoDown, model.ErrForgejoMisconfigured)
	case GrantDead, Suspended:
		errs = append(errs, model.ErrForgejoGrantDead)
	}
	if e.cause != nil {
		errs = append(errs, e.cause)
	}
	return errs
}
