package store_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

func TestSessionLists(t *testing.T) { teststore.Both(t, testSessionLists) }

func testSessionLists(t *testing.T) {
	s, c := open(t)
	alice, bob := teststore.LogIn(t, s, "alice", c.Now()), teststore.LogIn(t, s, "bob", c.Now())
	begin := func(l teststore.Login, id, unit string, used time.Duration) {
		t.Helper()
		must(t, s.CreateSession(t.Context(), model.Session{
			ID: id, UnitID: unit, UserID: l.User.ID, ClientID: l.Client.ID, GrantID: l.Grant.ID, Initialize: "of " + id, CreatedAt: c.Now(), LastUsedAt: c.Now().Add(used),
		}))
	}
	begin(alice, "sse-old", "u1", time.Hour)
	c.Add(time.Minute)
	began := c.Now()
	begin(alice, "sse-1", "u2", 2*time.Second)
	begin(alice, "sse-2", "", 2*time.Second)
	begin(alice, "SSE-3", "", 3*time.Second)
	begin(alice, "other", "", 4*time.Second)
	begin(bob, "sse-bob", "u3", time.Minute)

	for name, tc := range map[string]struct {
		got  func() ([]string, error)
		want string
	}{
		"all":            {func() ([]string, error) { return s.SessionIDs(t.Context()) }, "SSE-3 other sse-1 sse-2 sse-bob sse-old"},
		"alice's grant":  {func() ([]string, error) { return s.GrantSessions(t.Context(), alice.Grant.ID) }, "SSE-3 other sse-1 sse-2 sse-old"},
		"no grant":       {func() ([]string, error) { return s.GrantSessions(t.Context(), "x") }, ""},
		"bob":            {func() ([]string, error) { return s.UserSessions(t.Context(), bob.User.ID) }, "sse-bob"},
		"old":            {func() ([]string, error) { return s.OldSessions(t.Context(), began.Add(-time.Millisecond)) }, "sse-old"},
		"begun then":     {func() ([]string, error) { return s.OldSessions(t.Context(), began) }, "SSE-3 other sse-1 sse-2 sse-bob sse-old"},
		"before anybody": {func() ([]string, error) { return s.OldSessions(t.Context(), began.Add(-time.Hour)) }, ""},
	} {
		got, err := tc.got()
		slices.Sort(got)
		if err != nil || strings.Join(got, " ") != tc.want {
			t.Errorf("%s: %v, %v, want %s", name, got, err, tc.want)
		}
	}
	units, err := s.SessionUnits(t.Context())
	if want := map[string]string{"u1": "sse-old", "u2": "sse-1", "u3": "sse-bob"}; err != nil || !maps.Equal(units, want) {
		t.Errorf("units %v, %v", units, err)
	}
	last, err := s.LastSession(t.Context(), alice.User.ID, alice.Client.ID, "sse-", began.Add(-time.Second))
	if err != nil || last.ID != "sse-2" || last.Initialize != "of sse-2" {
		t.Errorf("last used: %+v, %v", last, err)
	}
	_, err = s.LastSession(t.Context(), alice.User.ID, alice.Client.ID, "sse-", began)
	wantErr(t, err, model.ErrNotFound)
	_, err = s.LastSession(t.Context(), alice.User.ID, bob.Client.ID, "sse-", time.Time{})
	wantErr(t, err, model.ErrNotFound)
}

// What asks for some sessions does not read all of them.
// Of SQLite, whose plans do not depend on how many rows there are.
func TestSessionListsUseIndexes(t *testing.T) {
	s, _ := open(t)
	l := teststore.LogIn(t, s, "alice", time.Now())
	ctx := t.Context()
	for name, ask := range map[string]func() error{
		"grant": func() error { _, err := s.GrantSessions(ctx, l.Grant.ID); return err },
		"user":  func() error { _, err := s.UserSessions(ctx, l.User.ID); return err },
		"old":   func() error { _, err := s.OldSessions(ctx, time.Now()); return err },
		"units": func() error { _, err := s.SessionUnits(ctx); return err },
		"last": func() error {
			if _, err := s.LastSession(ctx, l.User.ID, l.Client.ID, "sse-", time.Now()); err != model.ErrNotFound {
				return fmt.Errorf("got %w", err)
			}
			return nil
		},
		"ids": func() error { _, err := s.SessionIDs(ctx); return err },
	} {
		plans, err := s.Plans(func() { must(t, ask()) })
		must(t, err)
		if len(plans) == 0 {
			t.Errorf("%s: no query was seen", name)
		}
		for sql, steps := range plans {
			for _, step := range steps {
				if strings.HasPrefix(step, "SCAN sessions") && !strings.Contains(step, "USING") {
					t.Errorf("%s: %s reads the whole table: %s", name, sql, step)
				}
			}
		}
	}
}
