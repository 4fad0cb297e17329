package rights

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/tokens"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

// Config is what a Rights is made of. All fields but Now are required.
type Config struct {
	Store   *store.Store
	Forgejo *forgejo.Client
	Tokens  *tokens.Tokens
	Audit   *audit.Logger
	Log     *slog.Logger
	Now     func() time.Time // nil means time.Now
}

// Rights is who may do what now. It is safe for concurrent use. A nil one is of no policy
// and bounds nobody.
type Rights struct {
	cfg       Config
	questions singleflight.Group // to the forge, by user id
	loading   sync.Mutex         // held while a policy is checked and put in force
	policy    atomic.Pointer[ruling]

	mu      sync.RWMutex
	people  map[string]*person // by user id
	changed []func(userID string)

	names namesAtWork
}

// ruling is a policy in force.
type ruling struct {
	doc      *policy.Document
	rules    *policy.Rules
	ids      map[policy.Subject]int64 // of those that are not pinned, as far as known
	unknown  []policy.Subject         // of these the others
	asks     bool                     // some rule grants by membership
	loadedAt time.Time
}

// person is what is known of a user, under Rights.mu.
type person struct {
	user   model.User
	met    bool // what was stored about it is here
	member model.Membership
	known  bool      // member is what the forge said when it was asked last
	tried  time.Time // when it was asked last, zero for never

	rights   *policy.Rights   // of today; nil until computed
	verdicts map[string]Bound // by grant id
}

// Bound is what holds for a login now.
type Bound struct {
	Limits policy.Limits
	Key    string // Limits.Key()
}

// mostPeople bounds the memory of what is known, to some tens of MiB.
const mostPeople = 10_000

// New returns a Rights without a policy.
func New(cfg Config) *Rights {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Rights{cfg: cfg, people: map[string]*person{}}
}

// Changed has f told after each change of who may do what: of one user, or of all where
// userID is "". f must not wait. Call it before use.
func (r *Rights) Changed(f func(userID string)) {
	if r != nil {
		r.changed = append(r.changed, f)
	}
}

func (r *Rights) notify(userID string) {
	for _, f := range r.changed {
		f(userID)
	}
}

// Limit sets what bounds access now. It asks the forge first, for at most askTimeout, where
// what the user is a member of was asked long ago. The error is the store's, or ctx's.
func (r *Rights) Limit(ctx context.Context, access *model.Access) error {
	b, err := r.of(ctx, access.User.ID, access.GrantID, func() (model.User, string, error) { return access.User, access.Ceiling, nil }, true)
	access.Limits, access.LimitsKey = b.Limits, b.Key
	return err
}

// OfLogin is what bounds a login now, as Limit finds it.
func (r *Rights) OfLogin(ctx context.Context, userID, grantID string) (Bound, error) {
	return r.of(ctx, userID, grantID, r.stored(ctx, userID, grantID), true)
}

// Standing is OfLogin without a question to the forge: what it said last counts, however
// long ago.
func (r *Rights) Standing(ctx context.Context, userID, grantID string) (Bound, error) {
	return r.of(ctx, userID, grantID, r.stored(ctx, userID, grantID), false)
}

// origin tells of a login that is not known yet: its user and its ceiling.
type origin func() (model.User, string, error)

func (r *Rights) stored(ctx context.Context, userID, grantID string) origin {
	return func() (user model.User, ceiling string, err error) {
		grant, err := r.cfg.Store.Grant(ctx, grantID)
		if err == nil {
			user, err = r.cfg.Store.User(ctx, userID)
		}
		return user, grant.Ceiling, err
	}
}

func (r *Rights) of(ctx context.Context, userID, grantID string, from origin, ask bool) (Bound, error) {
	if r == nil {
		return Bound{}, nil
	}
	if b, ok := r.cached(userID, grantID, ask); ok {
		return b, nil
	}
	user, ceiling, err := from()
	if err == nil {
		err = r.meet(ctx, user)
	}
	if err == nil && ask {
		err = r.askIfDue(ctx, user)
	}
	if err != nil {
		return Bound{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.boundLocked(r.personLocked(user), grantID, ceiling), nil
}

// cached returns what was computed before, unless the forge is to be asked first.
func (r *Rights) cached(userID, grantID string, ask bool) (Bound, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	p := r.people[userID]
	if p == nil || ask && r.dueLocked(p) {
		return Bound{}, false
	}
	b, ok := p.verdicts[grantID]
	return b, ok
}

// meet makes sure that what was stored of a user is known, where it matters.
func (r *Rights) meet(ctx context.Context, user model.User) error {
	r.mu.RLock()
	p := r.people[user.ID]
	met := p != nil && p.met
	r.mu.RUnlock()
	if met || r.policy.Load() == nil {
		return nil
	}
	member, err := r.cfg.Store.Membership(ctx, user.ID)
	if err = notFoundIsNil(err); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p = r.personLocked(user); !p.met && p.tried.IsZero() {
		p.member, p.known, p.tried = member, !member.AskedAt.IsZero(), member.AskedAt
		p.forgetLocked()
	}
	p.met = true
	return nil
}

// personLocked returns what is known of a user.
func (r *Rights) personLocked(user model.User) *person {
	p := r.people[user.ID]
	if p == nil {
		if len(r.people) >= mostPeople {
			clear(r.people)
		}
		p = &person{user: user, verdicts: map[string]Bound{}}
		r.people[user.ID] = p
	}
	return p
}

// boundLocked computes what bounds a login.
func (r *Rights) boundLocked(p *person, grantID, ceiling string) Bound {
	if b, ok := p.verdicts[grantID]; ok {
		return b
	}
	var limits policy.Limits
	if ceiling != "" {
		limits = append(limits, r.ceiling(p, ceiling))
	}
	if today := r.todayLocked(p); today != nil && !(len(limits) > 0 && limits.Key() == (policy.Limits{*today}).Key()) {
		limits = append(limits, *today)
	}
	limits = r.fitting(p, limits)
	b := Bound{limits, limits.Key()}
	p.verdicts[grantID] = b
	return b
}

// ceiling reads what was stored with a grant. What cannot be read allows nothing.
func (r *Rights) ceiling(p *person, text string) (rights policy.Rights) {
	if err := json.Unmarshal([]byte(text), &rights); err != nil {
		r.cfg.Log.Error("cannot read what a login was allowed; it may do nothing, and the user has to log in again", "user", p.user.Name, "error", err)
		return policy.Rights{}
	}
	return rights
}

// fitting returns limits that fit into a message to a unit: those that allow nothing, where
// they are too many.
func (r *Rights) fitting(p *person, limits policy.Limits) policy.Limits {
	if text, err := json.Marshal(limits); err == nil && len(text) <= policy.MaxBytes {
		return limits
	}
	r.cfg.Log.Error("what a login may do takes too much room, so it may do nothing: merge rules of the policy, or have the user log in again", "user", p.user.Name)
	return policy.Limits{{}}
}

// todayLocked is what a user may do by the policy; nil without one.
func (r *Rights) todayLocked(p *person) *policy.Rights {
	in := r.policy.Load()
	if in == nil || p.rights != nil {
		return p.rights
	}
	today, err := in.rules.For(p.asMember())
	if err != nil {
		r.cfg.Log.Error("a user may do nothing: the rules that match are too many", "user", p.user.Name, "error", err)
	}
	p.rights = &today
	return p.rights
}

func (p *person) asMember() policy.Member {
	id, _ := strconv.ParseInt(p.user.Subject, 10, 64) // 0, which no rule names, for what is no number
	m := policy.Member{ID: id, Known: p.known}
	if p.known {
		m.Administrator, m.Organizations, m.Teams = p.member.Administrator, numbers(p.member.Organizations), numbers(p.member.Teams)
	}
	return m
}

func numbers(named []model.Named) []int64 {
	ids := make([]int64, len(named))
	for i, n := range named {
		ids[i] = n.ID
	}
	return ids
}

// forgetLocked has all be computed anew that follows from what is known of p.
func (p *person) forgetLocked() {
	p.rights = nil
	clear(p.verdicts)
}
