package session

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/fjmcp/fjmcp-broker/internal/broker"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/stream"
	"github.com/fjmcp/fjmcp-broker/internal/unit"
)

// state is what this process leaves to the next of a session whose unit runs on.
type state struct {
	Unit    unit.State   `json:"unit"`
	Streams stream.Saved `json:"streams"`
}

// restoredAtOnce bounds how many states are in memory twice.
const restoredAtOnce = 32

// Restore goes on with the sessions whose units outlived the process before; kept
// are their descriptors by unit id. Requests may come when it returns: those of a
// restored session wait until its unit is settled. resume gets the calls of each
// session that the process before began and did not see answered. Call it once,
// before Reconcile, which deals with what could not be restored.
func (m *Manager) Restore(ctx context.Context, kept map[string][]*os.File, resume func(*Session, []*Call)) error {
	defer m.discard(kept)
	total, certain := 0, 0
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(kept)), restoredAtOnce) {
		rows, err := m.cfg.Store.ResumeSessions(ctx, ids)
		if err != nil {
			return err
		}
		for _, r := range rows {
			files := kept[r.Session.UnitID]
			if m.aged(r.Session.CreatedAt) {
				continue
			}
			delete(kept, r.Session.UnitID)
			if err := m.restore(r, files, resume); err != nil {
				m.cfg.Log.Warn("cannot go on with a session in its unit; it will wake in another", "session", label(r.Session.ID), "unit", unit.Name(r.Session.UnitID), "error", err)
				continue
			}
			total++
			if r.State != nil {
				certain++
			}
		}
	}
	if total > 0 {
		m.cfg.Log.Info("sessions go on in their units", "sessions", total, "without_state", total-certain)
	}
	return nil
}

// discard lets go of units that have no session; their backends see the end of
// their input.
func (m *Manager) discard(kept map[string][]*os.File) {
	for id, files := range kept {
		for _, f := range files {
			f.Close()
		}
		m.letGo(id)
	}
}

func (m *Manager) letGo(unitID string) {
	if m.cfg.Keeper == nil {
		return
	}
	if err := m.cfg.Keeper.Forget(unitID); err != nil {
		m.cfg.Log.Warn("cannot have a unit's descriptors forgotten", "unit", unit.Name(unitID), "error", err)
	}
}

// restore goes on with one session.
func (m *Manager) restore(r store.Resumed, files []*os.File, resume func(*Session, []*Call)) error {
	left := unit.Left{ID: r.Session.UnitID, Files: files, Epoch: r.Epoch, Used: r.Session.LastUsedAt}
	s, saved := m.recall(r)
	if saved != nil {
		left.State = &saved.Unit
	}
	u, err := m.fleet.Adopt(s.spec(), left, s)
	if err != nil {
		m.letGo(left.ID)
		return err
	}
	m.mu.Lock()
	m.sessions[s.row.ID], s.unit = s, u
	if s.row.Kind == broker.SessionShared {
		m.shared[s.key()] = s
	}
	m.mu.Unlock()
	u.Attend()
	calls := u.Restored()
	if saved != nil {
		s.closeStreams(saved.Streams, calls)
	}
	go s.takeOver(u)
	resume(s, calls)
	return nil
}

// recall makes the session of a row again, with its streams if they were written
// down.
func (m *Manager) recall(r store.Resumed) (*Session, *state) {
	if r.State == nil {
		return newSession(m, NewStreams(), r.Session), nil
	}
	var saved state
	err := json.Unmarshal(r.State, &saved)
	var streams *stream.Hub
	if err == nil {
		streams, err = stream.Restore(streamMemory, saved.Streams)
	}
	if err != nil {
		m.cfg.Log.Warn("cannot read what was written down of a session; it goes on without", "session", label(r.Session.ID), "error", err)
		return newSession(m, NewStreams(), r.Session), nil
	}
	return newSession(m, streams, r.Session), &saved
}

// closeStreams ends the streams that were open and that no call goes on to fill.
func (s *Session) closeStreams(saved stream.Saved, calls []*Call) {
	filled := map[*stream.Log]bool{s.streams.Own(): true}
	for _, c := range calls {
		filled[s.Carried(c)] = true
	}
	for _, l := range saved.Logs {
		if log := s.streams.Log(l.ID); log != nil && !filled[log] {
			log.Close()
		}
	}
}

// takeOver settles a restored unit, or ends it: the next request starts another.
func (s *Session) takeOver(u *unit.Unit) {
	ctx := context.Background()
	err := s.recallServer(ctx, u)
	if err == nil {
		err = u.Settle(ctx)
	}
	if err != nil {
		s.manager.cfg.Log.Warn("cannot go on with a session in its unit; it will wake in another", "session", s.label, "unit", u.Name(), "error", err)
		u.Stop(ctx)
	}
}

// suspend writes down what the next process needs to go on with the session in u.
// After an error that process goes on without, if u can outlive this one.
func (s *Session) suspend(ctx context.Context, u *unit.Unit) error {
	var left state
	var err error
	if left.Unit, err = u.Suspend(ctx); err != nil {
		return err
	}
	if err := s.streams.Filled(ctx); err != nil {
		return fmt.Errorf("what a call yielded is not in its stream yet: %w", err)
	}
	left.Streams = s.streams.Save()
	raw, err := json.Marshal(left)
	if err != nil {
		return err
	}
	return s.manager.cfg.Store.SaveSessionState(ctx, s.row.ID, u.ID(), raw, u.Used())
}

// recallServer gives a shared session back what its backend said of itself.
func (s *Session) recallServer(ctx context.Context, u *unit.Unit) error {
	if s.row.Kind != broker.SessionShared {
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
	return s.notices.Attach(ctx, u, server)
}
