package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
)

// PolicyStatus is how the policy stands.
type PolicyStatus struct {
	File     string    `json:"file"`             // where it is, or would be
	Rules    int       `json:"rules"`            // in force; 0 for no policy
	Digest   string    `json:"digest,omitempty"` // of these, see policy.Document
	Loaded   time.Time `json:"loaded,omitzero"`
	Failures int       `json:"failed_loads"`         // since the broker has started
	Failed   bool      `json:"failed,omitempty"`     // the last load
	Unknown  []string  `json:"unresolved,omitempty"` // names that the forge has not told about yet
}

// PolicyText is a policy to check; nil for what is in the broker's own file.
type PolicyText struct {
	Text *string `json:"text,omitempty"`
}

// PolicyCheck is what there is to say of a policy.
type PolicyCheck struct {
	File    string   `json:"file,omitempty"` // of the broker's own
	Rules   int      `json:"rules"`
	Digest  string   `json:"digest,omitempty"`
	Faults  []string `json:"faults"` // each with what mends it; then all else is of what is in force
	Added   []string `json:"added"`  // names of rules, against what is in force
	Removed []string `json:"removed"`
	Changed []string `json:"changed"`
	Idle    []string `json:"idle"` // names of rules that are for nobody who has logged in
}

// PolicyLoad is what a load of the broker's file has done.
type PolicyLoad struct {
	PolicyCheck
	Sessions []Session `json:"sessions"` // running ones that may do other things than before
}

// PolicyQuestion asks what a user may do.
type PolicyQuestion struct {
	User       string `json:"user"`                 // login name, or IDPrefix and number
	Tool       string `json:"tool,omitempty"`       // or resource template; "" for any
	Repository string `json:"repository,omitempty"` // owner/name; "" for any
}

// PolicyAnswer says what a user may do, and why.
type PolicyAnswer struct {
	User    string `json:"user"`
	UserID  string `json:"user_id"`
	Policy  bool   `json:"policy"` // there is one
	Allowed bool   `json:"allowed"`
	Rule    string `json:"rule,omitempty"` // that denies it; "" where no grant covers it
	// Rules are for the user, in the file's order.
	Rules  []PolicyRule  `json:"rules"`
	Member PolicyMember  `json:"member"`
	Logins []PolicyLogin `json:"logins"`
}

// PolicyRule is a rule that is for a user.
type PolicyRule struct {
	Name    string   `json:"name"`
	Deny    bool     `json:"deny"`
	Line    int      `json:"line"`
	By      []string `json:"by"`      // why it is for the user
	Covers  string   `json:"covers"`  // what it grants or denies
	Misses  []string `json:"misses"`  // what of the question it is not about: access, tool, repository
	Decides bool     `json:"decides"` // it is one of those by which the answer is what it is
}

// PolicyMember is what the forge said a user is a member of.
type PolicyMember struct {
	Asked         time.Time     `json:"asked,omitzero"` // zero for never
	Counts        bool          `json:"counts"`         // else the forge could not be asked since
	Administrator bool          `json:"administrator"`
	Organizations []PolicyNamed `json:"organizations"`
	Teams         []PolicyNamed `json:"teams"`
}

// PolicyNamed is an organization or a team, as organization/team.
type PolicyNamed struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

// PolicyLogin is a login, and what it may do at most.
type PolicyLogin struct {
	Grant   string         `json:"grant"`
	Client  string         `json:"client"`
	Created time.Time      `json:"created"`
	Bound   *policy.Rights `json:"bound"` // the rights it began with; nil for all
	Covers  []string       `json:"covers"`
	Allowed bool           `json:"allowed"` // by its bound and the policy of today
	Rule    string         `json:"rule,omitempty"`
}

// CheckPolicy has the broker look for what is wrong with a policy, for which it asks the
// forge whom names mean. Nothing is changed.
func (c *Caller) CheckPolicy(ctx context.Context, t PolicyText) (PolicyCheck, error) {
	return ask[PolicyCheck](ctx, c, policyTimeout, http.MethodPost, "/policy/check", t)
}

// ReloadPolicy has the broker put in force what its file says. Where there are faults the
// policy stays what it was.
func (c *Caller) ReloadPolicy(ctx context.Context) (PolicyLoad, error) {
	return ask[PolicyLoad](ctx, c, policyTimeout, http.MethodPost, "/policy/reload", nil)
}

// ExplainPolicy tells what a user may do, and why.
func (c *Caller) ExplainPolicy(ctx context.Context, q PolicyQuestion) (PolicyAnswer, error) {
	return ask[PolicyAnswer](ctx, c, policyTimeout, http.MethodPost, "/policy/explain", q)
}

// policyTimeout is longer than the broker gives the forge to tell whom names mean.
const policyTimeout = time.Minute
