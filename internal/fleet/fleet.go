package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
	"github.com/fjmcp/fjmcp-broker/internal/warm"
)

// ErrBusy says that the limit of running units is reached and none is idle.
var ErrBusy = errors.New("all sessions are busy")

// Config is what a Fleet is made of. All fields but AfterFunc are required.
type Config struct {
	Unit    unit.Config
	PerUser int // running units of one user
	Max     int // running units in all

	MaxAge    time.Duration                                             // warm.Config.MaxAge
	Label     func(sessionID string) string                             // warm.Config.Label
	Grant     func(ctx context.Context, id string) (model.Grant, error) // warm.Config.Grant
	AfterFunc func(d time.Duration, f func()) (stop func() bool)        // warm.Config.AfterFunc
}

// Fleet is all running units of this broker, those that start included, each beside
// the session S that it is for. It is safe for concurrent use, and never calls a
// session with its lock held.
type Fleet[S any] struct {
	Door Door
	Warm *warm.Pool // units for sessions to come, which have no place yet
	cfg  Config

	mu      sync.Mutex
	members map[string]*Member[S] // by unit id
	closed  bool
}

// Member is a unit that runs or starts, and whose it is.
type Member[S any] struct {
	Unit    *unit.Unit
	Session S

	userID string
	serves bool // its session has it for its unit; under Fleet.mu
}

// New returns a Fleet without units, whose Close must be called.
func New[S any](cfg Config) *Fleet[S] {
	return &Fleet[S]{
		cfg: cfg, members: map[string]*Member[S]{},
		Warm: warm.New(warm.Config{Unit: cfg.Unit, MaxAge: cfg.MaxAge, Label: cfg.Label, Grant: cfg.Grant, AfterFunc: cfg.AfterFunc}),
	}
}

// StartAhead has a unit started for the first session of access's grant, which is to
// come soon. It does not wait for it. While the door is shut it does nothing.
func (f *Fleet[S]) StartAhead(access model.Access) {
	leave, err := f.Door.Enter()
	if err != nil {
		return
	}
	defer leave()
	f.Warm.Start(access)
}

// Serve says that u is its session's unit from now on, which may be stopped for
// another when it is idle, and reports whether u is still there.
func (f *Fleet[S]) Serve(u *unit.Unit) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.members[u.ID()]
	if m == nil {
		return false
	}
	m.serves = true
	return true
}

// Withdraw undoes Serve for a unit that is about to be stopped.
func (f *Fleet[S]) Withdraw(u *unit.Unit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.members[u.ID()]; m != nil {
		m.serves = false
	}
}

// Remove takes away the place of a unit that has ended.
func (f *Fleet[S]) Remove(u *unit.Unit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.members, u.ID())
}

// Members are all units with a place, in no order.
func (f *Fleet[S]) Members() []Member[S] {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]Member[S], 0, len(f.members))
	for _, m := range f.members {
		all = append(all, *m)
	}
	return all
}

// Has reports whether a unit runs, starts or waits here.
func (f *Fleet[S]) Has(unitID string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.members[unitID]
	return ok || f.Warm.Has(unitID)
}

// Token is the launchclient.TokenFunc of this broker: the user's access token for a
// unit that is starting, once.
func (f *Fleet[S]) Token(ctx context.Context, unitID string) (string, error) {
	f.mu.Lock()
	m := f.members[unitID]
	f.mu.Unlock()
	if m == nil {
		return f.Warm.Token(ctx, unitID)
	}
	return m.Unit.Token(ctx)
}

// Reconcile stops the launcher's units that are not of this fleet.
func (f *Fleet[S]) Reconcile(ctx context.Context) error {
	ids, err := f.cfg.Unit.Launcher.List(ctx)
	if err != nil {
		return fmt.Errorf("cannot list session units: %w", err)
	}
	for _, id := range ids {
		if f.Has(id) {
			continue
		}
		f.cfg.Unit.Log.Info("stopping a session unit that belongs to no session", "unit", unit.Name(id))
		if err := f.cfg.Unit.Launcher.Stop(ctx, id); err != nil {
			return fmt.Errorf("cannot stop %s: %w", unit.Name(id), err)
		}
	}
	return nil
}

// Close starts no unit any more and ends those there are. One that serves its
// session and can outlive this process is given to leave, which lets go of it.
func (f *Fleet[S]) Close(ctx context.Context, leave func(context.Context, Member[S])) {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	var ends sync.WaitGroup
	for _, m := range f.Members() {
		ends.Go(func() {
			if m.serves && m.Unit.Kept() {
				leave(ctx, m)
			} else {
				m.Unit.Stop(ctx)
			}
		})
	}
	ends.Go(func() { f.Warm.Close(ctx) })
	ends.Wait()
}
