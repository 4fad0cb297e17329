package session

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/fjmcp/fjmcp-broker/internal/admin"
	"github.com/fjmcp/fjmcp-broker/internal/broker"
	"github.com/fjmcp/fjmcp-broker/internal/unit"
)

// stopsAtOnce bounds how many sessions Stop ends at a time.
const stopsAtOnce = 8

// Show gives the operator's view of the session of that label.
func (m *Manager) Show(ctx context.Context, label string) (admin.Detail, error) {
	rows, err := m.byLabel(ctx)
	if err != nil {
		return admin.Detail{}, err
	}
	row, ok := rows[label]
	if !ok {
		return admin.Detail{}, noSuch(label)
	}
	d := admin.Detail{Session: m.view(row), Ends: row.CreatedAt.Add(m.cfg.MaxAge), Calls: []admin.Call{}}
	m.mu.Lock()
	s := m.sessions[row.ID]
	m.mu.Unlock()
	if s == nil {
		return d, nil
	}
	if u := s.running(); u != nil {
		d.Calls = s.callsIn(u)
	}
	return d, nil
}

// Stop ends the sessions of those labels for good, each named once.
func (m *Manager) Stop(ctx context.Context, labels []string) (admin.Stopped, error) {
	rows, err := m.byLabel(ctx)
	if err != nil {
		return admin.Stopped{}, err
	}
	var mu sync.Mutex
	done := admin.Stopped{Stopped: []admin.Session{}, Failed: []admin.Unstoppable{}}
	var ends errgroup.Group
	ends.SetLimit(stopsAtOnce)
	for _, label := range labels {
		ends.Go(func() error {
			v, err := m.stop(ctx, rows, label)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				done.Failed = append(done.Failed, admin.Unstoppable{ID: label, Error: err.Error()})
				return nil
			}
			done.Stopped = append(done.Stopped, v)
			return nil
		})
	}
	return done, ends.Wait()
}

// stop ends one session. The error is in the operator's words.
func (m *Manager) stop(ctx context.Context, rows map[string]broker.Session, label string) (admin.Session, error) {
	row, ok := rows[label]
	if !ok {
		return admin.Session{}, noSuch(label)
	}
	v := m.view(row)
	s, err := m.lookup(ctx, row.ID)
	if err == nil {
		err = m.end(ctx, s, "operator")
	}
	if errors.Is(err, broker.ErrNotFound) {
		return v, noSuch(label)
	}
	if err != nil {
		m.cfg.Log.Error("cannot stop a session", "session", label, "error", err)
		return v, errors.New("the database cannot be written; see the journal of fjmcp-broker")
	}
	return v, nil
}

func noSuch(label string) *admin.Error {
	return &admin.Error{Text: fmt.Sprintf("there is no session %q; fjmcpctl sessions list shows all", label), NotFound: true}
}

func (m *Manager) byLabel(ctx context.Context) (map[string]broker.Session, error) {
	rows, err := m.cfg.Store.Sessions(ctx)
	if err != nil {
		return nil, err
	}
	all := make(map[string]broker.Session, len(rows))
	for _, row := range rows {
		all[label(row.ID)] = row
	}
	return all, nil
}

// Load counts the sessions and what they do.
func (m *Manager) Load(ctx context.Context) (admin.SessionsStatus, error) {
	load := admin.SessionsStatus{Max: m.cfg.Max, PerUser: m.cfg.PerUser, InFlight: len(m.calls()), Running: len(m.members())}
	list, err := m.List(ctx)
	for _, s := range list {
		if s.State == admin.Dormant {
			load.Dormant++
		}
	}
	return load, err
}

// members are the units that run or start.
func (m *Manager) members() []member {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.units))
}

// callsIn describes the calls in flight in a unit of the session, the oldest
// first.
func (s *Session) callsIn(u *unit.Unit) []admin.Call {
	all := []admin.Call{}
	for _, c := range u.Pending() {
		all = append(all, admin.Call{Session: s.Label(), User: s.row.UserName, Method: c.Method, Tool: c.Tool, Began: c.Began})
	}
	return all
}
