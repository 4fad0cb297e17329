package tokens

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

const (
	// refreshBefore is how long before its end an access token is replaced.
	// Tokens that live less than four times as long are replaced in the last
	// quarter of their life.
	refreshBefore = 5 * time.Minute
	// retryAfterDown is how long a failure to reach Forgejo is remembered, so
	// that not every call of a session waits for a timeout.
	retryAfterDown = 5 * time.Second
	// leaseTTL outlasts a refresh, whose HTTP exchange ends after 10 s.
	leaseTTL = 20 * time.Second
	// flightTimeout outlasts the lease of a process that died with it.
	flightTimeout = 40 * time.Second
)

// Config is what a Tokens needs. Store, Forgejo, Log and Audit are required.
type Config struct {
	Store   *store.Store
	Forgejo *forgejo.Client
	Now     func() time.Time // nil means time.Now
	Log     *slog.Logger
	Audit   *audit.Logger
	// Refreshed is told of each set that Forgejo has renewed. It must not wait. Optional.
	Refreshed func()
}

// Tokens gives out Forgejo access tokens. It is safe for concurrent use.
type Tokens struct {
	cfg     Config
	flights singleflight.Group

	mu      sync.Mutex
	down    map[string]failure // by user id
	changes map[string]uint64  // by user id
	// By user id; see renew.go.
	vouched  map[string]vouched
	renewals map[string]renewals

	lost func(userID string, why forgejo.Kind) // see Lost

	// See Close.
	work  sync.WaitGroup
	ctx   context.Context
	close context.CancelFunc
}

// failure is a remembered refresh that did not reach Forgejo.
type failure struct {
	at  time.Time
	err error
}

// New returns a Tokens.
func New(cfg Config) (*Tokens, error) {
	if cfg.Store == nil || cfg.Forgejo == nil || cfg.Log == nil || cfg.Audit == nil {
		return nil, errors.New("cannot keep forgejo tokens without store, forgejo client, log and audit")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Refreshed == nil {
		cfg.Refreshed = func() {}
	}
	t := &Tokens{cfg: cfg, down: map[string]failure{}, changes: map[string]uint64{},
		vouched: map[string]vouched{}, renewals: map[string]renewals{}, lost: func(string, forgejo.Kind) {}}
	t.ctx, t.close = context.WithCancel(context.Background())
	return t, nil
}

// Close waits for refreshes under way, whoever has left them, until ctx ends: a set that
// Forgejo has rotated and nobody has stored is lost. What is no more than useful to know it
// gives up. Nothing may be asked for any more.
func (t *Tokens) Close(ctx context.Context) error {
	t.close()
	over := make(chan struct{})
	go func() { t.work.Wait(); close(over) }()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("a refresh at forgejo does not end, and its user may have to log in again: %w", ctx.Err())
	}
}

// Lost has f told of each user whose set is dropped here since Forgejo does not take it
// any more, and whether that is for forgejo.GrantDead or forgejo.Suspended. f must not
// wait. Call it before anything else.
func (t *Tokens) Lost(f func(userID string, why forgejo.Kind)) { t.lost = f }

// drop deletes the user's set if it still is the one with that refresh token.
func (t *Tokens) drop(ctx context.Context, userID, refused string, why forgejo.Kind) (bool, error) {
	dropped, err := t.cfg.Store.DropForgejoTokens(ctx, userID, refused)
	if dropped {
		t.lost(userID, why)
	}
	return dropped, err
}

// Put stores the set that a login brought. A set that is older than the stored
// one, by forgejo.Supersedes, is dropped without an error: the stored one then
// belongs to a later login. model.ErrBlocked: the operator has blocked the user.
func (t *Tokens) Put(ctx context.Context, userID string, set model.ForgejoTokens) error {
	_, err := t.store(ctx, userID, set, t.cfg.Store.ReplaceForgejoTokens)
	return err
}

// store writes set by write, a method of the store, and returns what is stored then.
func (t *Tokens) store(ctx context.Context, userID string, set model.ForgejoTokens, write write) (model.ForgejoTokens, error) {
	stored, err := write(ctx, userID, set, func(current model.ForgejoTokens) bool {
		return forgejo.Supersedes(set, current)
	})
	if err != nil {
		return model.ForgejoTokens{}, fmt.Errorf("cannot store the user's forgejo tokens: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.down, userID)
	t.changes[userID]++
	return stored, nil
}

type write func(ctx context.Context, userID string, set model.ForgejoTokens, may func(current model.ForgejoTokens) bool) (model.ForgejoTokens, error)

// Discard drops the user's stored set if it is of the same grant at Forgejo as
// refused, which must not be used: what one opens the other does too.
func (t *Tokens) Discard(ctx context.Context, userID string, refused model.ForgejoTokens) error {
	current, err := t.Stored(ctx, userID)
	if errors.Is(err, model.ErrForgejoGrantDead) {
		return nil
	}
	if err != nil || !forgejo.SameGrant(refused, current) {
		return err
	}
	_, err = t.drop(ctx, userID, current.RefreshToken, forgejo.GrantDead)
	return err
}

// CheckScopes compares the scopes of the stored sets with the one asked for now,
// which the operator may have changed: Forgejo keeps the first scope of a grant.
// Sets that open more are withheld until the user has revoked the grant and
// logged in again; sets that open less still work. The log tells of both.
// Call it at start.
func (t *Tokens) CheckScopes(ctx context.Context) error {
	asked := t.cfg.Forgejo.Scope()
	allowed := func(scope string) bool { return scope == "" || forgejo.ScopeWithin(scope, asked) }
	uses, err := t.cfg.Store.WithholdForgejoTokens(ctx, allowed)
	if err != nil {
		return fmt.Errorf("cannot compare the granted scopes with FJMCP_BROKER_FORGEJO_SCOPES: %w", err)
	}
	broader, narrower := 0, 0
	for _, use := range uses {
		switch {
		case !allowed(use.Scope):
			broader += use.Users
		case use.Scope != "" && !forgejo.ScopeSame(use.Scope, asked):
			narrower += use.Users
		}
	}
	warn := func(users int, what string) {
		if users > 0 {
			t.cfg.Log.WarnContext(ctx, "FJMCP_BROKER_FORGEJO_SCOPES differs from what users have granted: "+what,
				"users", users, "revoke_at", t.cfg.Forgejo.ApplicationsURL())
		}
	}
	warn(broader, "their grants open more, so their clients get 401, and the login page asks them to revoke this application at forgejo "+
		"and log in again; with the former scopes they work again")
	warn(narrower, "their grants open less, so some tools will be refused; "+
		"the login page asks them to revoke this application at forgejo the next time they connect")
	return nil
}

// Changes counts the sets that this process has stored for the user. Whoever holds a set
// from before the last change looks at it anew, whatever the clock says of its end.
func (t *Tokens) Changes(userID string) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changes[userID]
}

// Token returns the user's current set, refreshed when its access token ends
// soon. While Forgejo is down a token that still lives is returned as it is.
// Errors wrap model.ErrForgejoDown or model.ErrForgejoGrantDead, the latter
// also for a user without a set, or are failures of the store or ctx.
func (t *Tokens) Token(ctx context.Context, userID string) (model.ForgejoTokens, error) {
	set, err := t.Stored(ctx, userID)
	if err != nil || !t.endsSoon(set) {
		return set, err
	}
	next, err := t.refresh(ctx, userID, set)
	if errors.Is(err, model.ErrForgejoDown) && t.cfg.Now().Before(set.ExpiresAt) {
		return set, nil
	}
	return next, err
}

// Stored returns the user's stored set as it is, without asking Forgejo; none means
// that the grant is dead. Errors are those of Token but model.ErrForgejoDown.
func (t *Tokens) Stored(ctx context.Context, userID string) (model.ForgejoTokens, error) {
	set, err := t.cfg.Store.ForgejoTokens(ctx, userID)
	if errors.Is(err, model.ErrNotFound) {
		return model.ForgejoTokens{}, model.ErrForgejoGrantDead
	}
	return set, err
}

func (t *Tokens) endsSoon(set model.ForgejoTokens) bool {
	margin := refreshBefore
	if c, ok := forgejo.ReadClaims(set.AccessToken); ok && c.Expires > c.IssuedAt {
		margin = min(margin, time.Duration(c.Expires-c.IssuedAt)*time.Second/4)
	}
	return !t.cfg.Now().Add(margin).Before(set.ExpiresAt)
}

// refresh replaces set, once for all callers that hold the same one. The work
// continues when the caller leaves: a rotated set that is not stored is lost.
func (t *Tokens) refresh(ctx context.Context, userID string, set model.ForgejoTokens) (model.ForgejoTokens, error) {
	if err := t.recentlyDown(userID); err != nil {
		return model.ForgejoTokens{}, err
	}
	return t.flight(ctx, userID+"\x00"+set.RefreshToken, func(ctx context.Context) (model.ForgejoTokens, error) {
		next, err := t.refreshLeased(ctx, userID, set)
		t.noteDown(userID, err)
		return next, err
	})
}

// flight has do done once for all that ask for the same key meanwhile. It continues
// when those have left.
func (t *Tokens) flight(ctx context.Context, key string, do func(context.Context) (model.ForgejoTokens, error)) (model.ForgejoTokens, error) {
	t.work.Add(1)
	result := t.flights.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flightTimeout)
		defer cancel()
		return do(ctx)
	})
	select {
	case r := <-result:
		t.work.Done()
		next, _ := r.Val.(model.ForgejoTokens)
		return next, r.Err
	case <-ctx.Done():
		go func() { <-result; t.work.Done() }()
		return model.ForgejoTokens{}, ctx.Err()
	}
}

// refreshLeased waits for the user's lease and then refreshes set, unless
// another process has replaced it meanwhile.
func (t *Tokens) refreshLeased(ctx context.Context, userID string, set model.ForgejoTokens) (stored model.ForgejoTokens, err error) {
	replaced := func() bool {
		stored, err = t.Stored(ctx, userID)
		return err != nil || stored.RefreshToken != set.RefreshToken
	}
	release, leaseErr := t.lease(ctx, userID, replaced)
	if leaseErr != nil {
		return model.ForgejoTokens{}, leaseErr
	}
	defer release()
	if replaced() {
		return stored, err
	}
	return t.refreshNow(ctx, userID, stored)
}

// lease waits until nobody else changes the user's set, or until needless says that
// there is nothing to change any more. The caller calls release.
func (t *Tokens) lease(ctx context.Context, userID string, needless func() bool) (release func(), err error) {
	name, holder := "forgejo-refresh/"+userID, rand.Text()
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		got, err := t.cfg.Store.AcquireLease(ctx, name, holder, leaseTTL)
		switch {
		case err != nil:
			return nil, fmt.Errorf("cannot take the lease on the user's forgejo tokens: %w", err)
		case got:
			return func() { t.release(ctx, name, holder) }, nil
		case needless():
			return func() {}, nil
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, fmt.Errorf("cannot get a turn to change the user's forgejo tokens: %w", err)
		}
	}
}

// release runs also when ctx has ended; a lease that stays delays the next
// refresh by its TTL.
func (t *Tokens) release(ctx context.Context, name, holder string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := t.cfg.Store.ReleaseLease(ctx, name, holder); err != nil {
		t.cfg.Log.WarnContext(ctx, "cannot release a lease", "lease", name, "error", err)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
