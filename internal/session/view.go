package session

import (
	"context"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// View is a session at one moment.
type View struct {
	model.Session // LastUsedAt as its unit knows it

	Label string        // by which the journal knows it
	Unit  string        // what systemd calls it; "" while dormant
	Calls []*relay.Call // in flight, the oldest first
	// HeldUntil is until when it is not started, since its backend keeps ending by
	// itself; zero if it may.
	HeldUntil time.Time
}

// Running reports whether the session has a unit.
func (v View) Running() bool { return v.Unit != "" }

// List views all sessions, the longest unused first as far as stored, as
// store.Store.Sessions gives them.
func (m *Manager) List(ctx context.Context) ([]View, error) {
	if err := m.awaitAll(ctx); err != nil {
		return nil, err
	}
	rows, err := m.cfg.Store.Sessions(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]View, len(rows))
	for i, row := range rows {
		list[i] = m.view(row)
	}
	return list, nil
}

// Labels are the ids of all sessions by their labels.
func (m *Manager) Labels(ctx context.Context) (map[string]string, error) {
	ids, err := m.cfg.Store.SessionIDs(ctx)
	if err != nil {
		return nil, err
	}
	all := make(map[string]string, len(ids))
	for _, id := range ids {
		all[model.SessionLabel(id)] = id
	}
	return all, nil
}

// View views the session of that Mcp-Session-Id. model.ErrNotFound: it has ended.
func (m *Manager) View(ctx context.Context, id string) (View, error) {
	row, err := m.cfg.Store.Session(ctx, id)
	if err != nil {
		return View{}, err
	}
	return m.view(row), nil
}

func (m *Manager) view(row model.Session) View {
	v := View{Session: row, Label: model.SessionLabel(row.ID)}
	m.mu.Lock()
	s := m.sessions[row.ID]
	if s != nil {
		now := m.cfg.Now()
		if left := s.circuit.Left(now); left > 0 {
			v.HeldUntil = now.Add(left)
		}
	}
	m.mu.Unlock()
	if s == nil {
		return v
	}
	if u := s.running(); u != nil {
		v.runs(u)
	}
	return v
}

func (v *View) runs(u *unit.Unit) {
	v.Unit, v.LastUsedAt, v.Calls = u.Name(), u.Used(), u.Pending()
}

// Awake views the sessions whose units run or start, without the store.
func (m *Manager) Awake() []View {
	all := m.members()
	list := make([]View, len(all))
	m.mu.Lock()
	for i, o := range all {
		list[i] = View{Session: o.Session.row, Label: o.Session.label}
	}
	m.mu.Unlock()
	for i, o := range all {
		list[i].runs(o.Unit)
	}
	return list
}

// Running counts the running sessions between a user and a client, and tells when
// one of them was last used; the zero time if none runs.
func (m *Manager) Running(userID, clientID string) (n int, lastUsed time.Time) {
	for _, o := range m.members() {
		if row := &o.Session.row; row.UserID != userID || row.ClientID != clientID {
			continue
		}
		n++
		if at := o.Unit.Used(); at.After(lastUsed) {
			lastUsed = at
		}
	}
	return n, lastUsed
}

// Counts is how many units there are, and calls.
type Counts struct {
	Starting, Running int // units of sessions
	MostOfUser        int // the most of these that one user has
	Warm              int // units that were started for sessions to come, or start
	InFlight          int // calls
}

// Count counts.
func (m *Manager) Count() Counts {
	n, of := Counts{Warm: m.Waiting()}, map[string]int{}
	for _, o := range m.members() {
		if n.Starting++; o.served {
			n.Starting, n.Running = n.Starting-1, n.Running+1
		}
		n.InFlight += o.Unit.InFlight()
		of[o.Session.row.UserID]++
		n.MostOfUser = max(n.MostOfUser, of[o.Session.row.UserID])
	}
	return n
}

// Stop ends the session of that Mcp-Session-Id for good, for the operator.
// model.ErrNotFound: it has ended.
func (m *Manager) Stop(ctx context.Context, id string) error {
	s, err := m.lookup(ctx, id)
	if err != nil {
		return err
	}
	return m.end(ctx, s, operator)
}

// Waiting counts the units that were started for sessions to come, or start.
func (m *Manager) Waiting() int {
	return len(m.prestart.all(func(*prestartUnit) bool { return true }))
}
