package session

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session/eventstore"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

// state is what this process leaves to the next of a session whose unit runs on.
type state struct {
	Unit    unit.State       `json:"unit"`
	Streams eventstore.Saved `json:"streams"`
}

const (
	// restoredAtOnce is how many sessions are read in one transaction, and bounds how
	// many states are in memory twice.
	restoredAtOnce = 64
	// savedAtOnce bounds how many are written in one.
	savedAtOnce = 64
	// settledAtOnce is how many restored units are spoken with at once, the first ones
	// first.
	settledAtOnce = 16
)

// Expect says that Restore is to come: until a session is restored, or it is certain
// that it will not be, requests for it wait, and so does what needs to know of all.
func (m *Manager) Expect() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.restoring == nil {
		m.restoring = make(chan struct{})
	}
}

// Restore continues with the sessions whose units outlived the process before; kept
// are their descriptors by unit id. After Expect requests may come meanwhile; those of a
// restored session wait until its unit is settled. resume gets the calls of each
// session that the process before began and did not see answered. Call it once, before
// Reconcile, which deals with what could not be restored.
func (m *Manager) Restore(ctx context.Context, kept map[string][]*os.File, resume func(*Session, []*Call)) error {
	m.Expect()
	defer m.progress(nil)
	defer m.discard(kept)
	settle := make(chan restored, len(kept))
	defer close(settle)
	for range min(settledAtOnce, len(kept)) {
		go func() {
			for s := range settle {
				s.settle()
			}
		}()
	}
	total, certain := 0, 0
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(kept)), restoredAtOnce) {
		rows, err := m.cfg.Store.ResumeSessions(ctx, ids)
		if err != nil {
			return err
		}
		for _, r := range rows {
			s, ok := m.restore(r, kept, resume)
			if !ok {
				continue
			}
			settle <- s
			total++
			if s.certain {
				certain++
			}
		}
		m.progress(make(chan struct{}))
	}
	if total > 0 {
		m.cfg.Log.Info("sessions continue in their units", "sessions", total, "without_state", total-certain)
	}
	return nil
}

// progress has those that wait for a session look again; next is nil when all are there.
func (m *Manager) progress(next chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.restoring)
	m.restoring = next
}

// awaitRestored returns what find, called with mu held, finds; nil if it finds nothing also
// when all sessions are restored.
func (m *Manager) awaitRestored(ctx context.Context, find func() *Session) (*Session, error) {
	for {
		m.mu.Lock()
		wait, found := m.restoring, find()
		m.mu.Unlock()
		if wait == nil || found != nil {
			return found, nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// awaitAll waits until all sessions are restored.
func (m *Manager) awaitAll(ctx context.Context) error {
	_, err := m.awaitRestored(ctx, func() *Session { return nil })
	return err
}

// restored is a session whose unit is to be settled.
type restored struct {
	*Session
	adopted *unit.Unit
	certain bool // what the process before wrote down is there
}

// discard lets go of units that have no session; their backends see the end of
// their input.
func (m *Manager) discard(kept map[string][]*os.File) {
	for id, files := range kept {
		for _, f := range files {
			f.Close()
		}
		m.cfg.Forget(id)
	}
}

// restore continues with one session, if it can, and deletes its files from kept. The
// session can be found when resume has its calls.
func (m *Manager) restore(r store.Resumed, kept map[string][]*os.File, resume func(*Session, []*Call)) (restored, bool) {
	if m.aged(r.Session.CreatedAt) {
		return restored{}, false
	}
	left := unit.Left{ID: r.Session.UnitID, Files: kept[r.Session.UnitID], Epoch: r.Epoch, Used: r.Session.LastUsedAt}
	delete(kept, left.ID)
	s, saved := m.recall(r)
	if saved != nil {
		left.State = &saved.Unit
	}
	u, err := m.adopt(left, s)
	if err != nil {
		m.cfg.Log.Warn("cannot continue with a session in its unit; it will wake in another", "session", s.label, "unit", launchproto.UnitName(left.ID), "error", err)
		m.cfg.Forget(left.ID)
		return restored{}, false
	}
	u.Attend()
	calls := u.Restored()
	if saved != nil {
		filled := []*eventstore.Log{s.streams.Own()}
		for _, c := range calls {
			filled = append(filled, s.Carried(c))
		}
		s.streams.Close(filled...)
	}
	resume(s, calls)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sessions[s.row.ID] = s
	if s.row.Kind == model.SessionShared {
		m.shared[s.key()] = s
	}
	return restored{s, u, saved != nil}, true
}

// recall makes the session of a row again, with its streams if they were written
// down.
func (m *Manager) recall(r store.Resumed) (*Session, *state) {
	if r.State == nil {
		return newSession(m, NewStreams(), r.Session), nil
	}
	var saved state
	var streams *eventstore.Hub
	err := json.Unmarshal(r.State, &saved)
	if err == nil {
		streams, err = eventstore.Restore(streamMemory, saved.Streams)
	}
	if err != nil {
		m.cfg.Log.Warn("cannot read what was written down of a session; it continues without", "session", model.SessionLabel(r.Session.ID), "error", err)
		return newSession(m, NewStreams(), r.Session), nil
	}
	return newSession(m, streams, r.Session), &saved
}

// settle settles a restored unit, or ends it: the next request starts another.
func (s restored) settle() {
	ctx, u := context.Background(), s.adopted
	err := s.recallServer(ctx, u)
	if err == nil {
		err = u.Settle(ctx)
	}
	if err != nil {
		s.manager.cfg.Log.Warn("cannot continue with a session in its unit; it will wake in another", "session", s.label, "unit", u.Name(), "error", err)
		u.Stop(ctx)
	}
}

// Shutdown lets go of all units. Those that can outlive this process run on, and
// what the next one needs of their sessions is written down; the others are
// stopped, and their sessions wake under the next.
func (m *Manager) Shutdown(ctx context.Context) {
	if err := m.awaitAll(ctx); err != nil {
		m.cfg.Log.Warn("not all sessions of the process before are restored; the others will wake in other units", "error", err)
	}
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	states := make(chan store.SessionState, savedAtOnce)
	var written, ends sync.WaitGroup
	written.Go(func() { m.save(ctx, states) })
	for _, o := range m.members() {
		ends.Go(func() {
			if !o.Unit.Kept() || !o.Session.servedBy(o.Unit) {
				o.Unit.Stop(ctx)
				return
			}
			state, err := o.Session.suspend(ctx, o.Unit)
			if err != nil {
				m.cfg.Log.Warn("a session continues without what it was about to say", "session", o.Session.label, "unit", o.Unit.Name(), "error", err)
				return
			}
			states <- state
		})
	}
	ends.Go(func() { m.prestart.Close(ctx) })
	ends.Wait()
	close(states)
	written.Wait()
}

// save writes down states as they come, those that wait together: a transaction for
// each would take most of the time of a shutdown.
func (m *Manager) save(ctx context.Context, states <-chan store.SessionState) {
	for state := range states {
		batch := []store.SessionState{state}
		for len(batch) < savedAtOnce && len(states) > 0 {
			batch = append(batch, <-states)
		}
		if err := m.cfg.Store.SaveSessionStates(ctx, batch); err != nil {
			m.cfg.Log.Warn("sessions continue without what they were about to say", "sessions", len(batch), "error", err)
		}
	}
}

// suspend returns what the next process needs to continue with the session in u. After
// an error that process does without, if u can outlive this one.
func (s *Session) suspend(ctx context.Context, u *unit.Unit) (store.SessionState, error) {
	var left state
	var err error
	if left.Unit, err = u.Suspend(ctx); err != nil {
		return store.SessionState{}, err
	}
	if err := s.streams.Filled(ctx); err != nil {
		return store.SessionState{}, fmt.Errorf("what a call yielded is not in its stream yet: %w", err)
	}
	left.Streams = s.streams.Save()
	raw, err := json.Marshal(left)
	return store.SessionState{SessionID: s.row.ID, UnitID: u.ID(), State: raw, Used: u.Used()}, err
}

// recallServer gives a shared session back what its backend said of itself.
func (s *Session) recallServer(ctx context.Context, u *unit.Unit) error {
	if s.row.Kind != model.SessionShared {
		return nil
	}
	m := s.manager
	m.mu.Lock()
	err := json.Unmarshal([]byte(s.row.Server), &s.server)
	server := s.server
	m.mu.Unlock()
	if err != nil {
		return fmt.Errorf("it is not known what its backend is: %w", err)
	}
	return s.attach(ctx, u, server)
}
