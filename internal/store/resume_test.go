package store_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

// session stores a session of alice in a unit.
func session(t *testing.T, s *store.Store, l teststore.Login, id, unit string) {
	t.Helper()
	must(t, s.CreateSession(t.Context(), model.Session{
		ID: id, UnitID: unit, UserID: l.User.ID, ClientID: l.Client.ID, GrantID: l.Grant.ID, CreatedAt: time.Now(), LastUsedAt: time.Now(),
	}))
}

// save keeps the state of one session.
func save(t *testing.T, s *store.Store, id, unit, state string, used time.Time) {
	t.Helper()
	must(t, s.SaveSessionStates(t.Context(), []store.SessionState{{SessionID: id, UnitID: unit, State: []byte(state), Used: used}}))
}

// resume wants the one session of a unit.
func resume(t *testing.T, s *store.Store, unit string) store.Resumed {
	t.Helper()
	list, err := s.ResumeSessions(t.Context(), []string{unit, "unknown"})
	must(t, err)
	if len(list) != 1 || list[0].Session.UnitID != unit || list[0].Session.UserName != "alice" {
		t.Fatalf("sessions in %s: %+v", unit, list)
	}
	return list[0]
}

// What a process wrote down is given out once, sealed on disk, and only for the
// unit it was written for. Every process has its own epoch, also after one that
// wrote nothing.
func TestResumeSessions(t *testing.T) { teststore.Both(t, testResumeSessions) }

func testResumeSessions(t *testing.T) {
	path := teststore.Path(t)
	s := openWith(t, path, "a")
	l := teststore.LogIn(t, s, "alice", time.Now())
	session(t, s, l, "s1", "u1")
	session(t, s, l, "s2", "u2")
	used := time.Now().Add(time.Minute).Truncate(time.Millisecond).UTC()
	save(t, s, "s1", "u1", "results of calls", used)
	save(t, s, "s2", "u2", "of the other", used)
	if bytes.Contains(onDisk(t, path), []byte("results of calls")) {
		t.Error("the state stands in the file")
	}
	must(t, s.SaveSessionStates(t.Context(), []store.SessionState{
		{SessionID: "s1", UnitID: "u2", State: []byte("of another unit"), Used: used},
		{SessionID: "gone", UnitID: "u1", State: []byte("of a session that ended"), Used: used},
		{SessionID: "s2", UnitID: "u2", State: []byte("of the other"), Used: used},
	}))

	r := resume(t, s, "u1")
	if string(r.State) != "results of calls" || r.Epoch != 1 || !r.Session.LastUsedAt.Equal(used) {
		t.Errorf("first: %+v", r)
	}
	if r = resume(t, s, "u1"); r.State != nil || r.Epoch != 2 {
		t.Errorf("again: %+v", r)
	}

	save(t, s, "s1", "u1", "old", used)
	must(t, s.ClearSessionUnit(t.Context(), "s1", "another"))
	resume(t, s, "u1")
	save(t, s, "s1", "u1", "old", used)
	must(t, s.ClearSessionUnit(t.Context(), "s1", "u1"))
	must(t, s.SetSessionUnit(t.Context(), "s1", "u3"))
	if r = resume(t, s, "u3"); r.State != nil || r.Epoch != 1 {
		t.Errorf("in another unit: %+v", r)
	}

	save(t, openWith(t, path, "ba"), "s2", "u2", "sealed with b", used)
	if r = resume(t, s, "u2"); r.State != nil {
		t.Errorf("with another key: %+v", r)
	}
}

// States of units that are gone, and of sessions that ended, do not stay.
func TestCollectSessionStates(t *testing.T) { teststore.Both(t, testCollectSessionStates) }

func testCollectSessionStates(t *testing.T) {
	path := teststore.Path(t)
	s := openWith(t, path, "a")
	l := teststore.LogIn(t, s, "alice", time.Now())
	for _, id := range []string{"1", "2", "3"} {
		session(t, s, l, "s"+id, "u"+id)
		save(t, s, "s"+id, "u"+id, id, time.Now())
	}
	must(t, s.ClearSessionUnit(t.Context(), "s1", "u1"))
	must(t, s.DeleteSession(t.Context(), "s2"))
	must(t, s.Collect(t.Context()))
	both := openWith(t, path, "ba")                                         // counts what is sealed
	if got, err := both.Reseal(t.Context()); err != nil || got.Moved != 2 { // the login's set and the state of s3
		t.Errorf("moved %+v, %v", got, err)
	}
	if r := resume(t, both, "u3"); string(r.State) != "3" {
		t.Errorf("got %+v", r)
	}
}

// A process that dies while it raises a session's mode leaves the unit to nobody.
func TestRaisedSessionsAreNotResumedHalfway(t *testing.T) {
	teststore.Both(t, testRaisedSessionsAreNotResumedHalfway)
}

func testRaisedSessionsAreNotResumedHalfway(t *testing.T) {
	s := openWith(t, teststore.Path(t), "a")
	l := teststore.LogIn(t, s, "alice", time.Now())
	must(t, s.CreateSession(t.Context(), model.Session{ID: "s", UnitID: "u", UserID: l.User.ID, ClientID: l.Client.ID, GrantID: l.Grant.ID, ReadOnly: true}))
	resume(t, s, "u")
	must(t, s.SetSessionMode(t.Context(), "s", false))
	if list, err := s.ResumeSessions(t.Context(), []string{"u"}); err != nil || len(list) != 0 {
		t.Errorf("halfway: %+v, %v", list, err)
	}
	must(t, s.ConfirmSessionUnit(t.Context(), "s", "u"))
	if r := resume(t, s, "u"); r.Session.ReadOnly || r.Epoch != 2 {
		t.Errorf("raised: %+v", r)
	}
}
