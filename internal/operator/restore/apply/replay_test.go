package apply

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/restore"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

// What ends, by each kind of event, and what does not.
func TestReplay(t *testing.T) {
	sc := newScene(t)
	alice, bob := sc.alice, sc.bob
	for name, tc := range map[string]struct {
		since []restore.Step
		want  string // who has a login and a session still
		ended restore.Ended
	}{
		"nothing":              {nil, "alice bob", restore.Ended{}},
		"client removed":       {[]restore.Step{{Kind: audit.ClientRemoved, Client: bob.Client.ID}}, "alice", restore.Ended{Logins: 1, Clients: 1, Sessions: 1}},
		"disconnected":         {[]restore.Step{{Kind: audit.Disconnected, User: "sub-bob", Client: bob.Client.ID}}, "alice", restore.Ended{Logins: 1, Sessions: 1}},
		"disconnected another": {[]restore.Step{{Kind: audit.Disconnected, User: "sub-alice", Client: bob.Client.ID}}, "alice bob", restore.Ended{}},
		"token reused":         {[]restore.Step{{Kind: audit.TokenReused, Grant: bob.Grant.ID}}, "alice", restore.Ended{Logins: 1, Sessions: 1}},
		"token given back":     {[]restore.Step{{Kind: audit.TokenRevoked, Grant: bob.Grant.ID}}, "alice", restore.Ended{Logins: 1, Sessions: 1}},
		"grant revoked":        {[]restore.Step{{Kind: audit.GrantRevoked, Grant: bob.Grant.ID}}, "alice", restore.Ended{Logins: 1, Sessions: 1}},
		"user revoked":         {[]restore.Step{{Kind: audit.UserRevoked, User: "sub-bob"}}, "alice", restore.Ended{Logins: 1, Sessions: 1}},
		"user blocked":         {[]restore.Step{{Kind: audit.UserBlocked, User: "sub-bob"}}, "alice", restore.Ended{Logins: 1, Sessions: 1, Blocked: 1}},
		"blocked and not":      {[]restore.Step{{Kind: audit.UserBlocked, User: "sub-bob"}, {Kind: audit.UserUnblocked, User: "sub-bob"}}, "alice", restore.Ended{Logins: 1, Sessions: 1}},
		"blocked in vain":      {[]restore.Step{{Kind: audit.UserUnblocked, User: "sub-bob"}}, "alice bob", restore.Ended{}},
		"a stranger blocked":   {[]restore.Step{{Kind: audit.UserBlocked, User: "999"}}, "alice bob", restore.Ended{Blocked: 1}},
		"unknown ones": {[]restore.Step{{Kind: audit.ClientRemoved, Client: "x"}, {Kind: audit.GrantRevoked, Grant: "x"}, {Kind: audit.UserRevoked, User: "x"},
			{Kind: audit.SessionStopped, Session: "x"}, {Kind: audit.ClientRemoved}, {Kind: audit.Disconnected, User: "sub-bob"}}, "alice bob", restore.Ended{}},
		"several": {[]restore.Step{{Kind: audit.UserRevoked, User: "sub-bob"}, {Kind: audit.GrantRevoked, Grant: alice.Grant.ID}}, "", restore.Ended{Logins: 2, Sessions: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			sc := &scene{dir: t.TempDir(), backup: sc.backup}
			a, err := sc.do(t, restore.Order{Do: true, Since: tc.since})
			must(t, err)
			if a.Ended != tc.ended {
				t.Errorf("ended %+v, want %+v", a.Ended, tc.ended)
			}
			if got := sc.standing(t, alice, bob); got != tc.want {
				t.Errorf("%q stand, want %q", got, tc.want)
			}
		})
	}
}

// standing says who can refresh, and has a session.
func (sc *scene) standing(t *testing.T, logins ...teststore.Login) string {
	t.Helper()
	s := teststore.Open(t, filepath.Join(sc.dir, database), nil)
	var names []string
	for _, l := range logins {
		_, _, err := s.Rotate(t.Context(), l.Pair.Refresh, l.Client, teststore.Pair(time.Now()), store.Asked{})
		sessions, listErr := s.UserSessions(t.Context(), l.User.ID)
		if (err == nil) != (len(sessions) == 1) || listErr != nil {
			t.Errorf("%s refreshes: %v, and has sessions %v", l.User.Name, err, sessions)
		}
		if err == nil {
			names = append(names, l.User.Name)
		}
	}
	return strings.Join(names, " ")
}

func TestRevokeAll(t *testing.T) {
	sc := newScene(t)
	a, err := sc.do(t, restore.Order{Do: true, RevokeAll: true})
	must(t, err)
	if want := (restore.Ended{Logins: 2, Sessions: 2}); a.Ended != want {
		t.Errorf("ended %+v", a.Ended)
	}
	if got := sc.standing(t, sc.alice, sc.bob); got != "" {
		t.Errorf("%q stand", got)
	}
	wantUsers(t, "revoked", sc.path, "alice bob")
}

// A session that ended alone stays ended, and the login stays. A login that reads alone
// since reads alone, and an access token that was given back is gone.
func TestReplayOfLess(t *testing.T) {
	sc := newScene(t)
	_, err := sc.do(t, restore.Order{Do: true, Since: []restore.Step{
		{Kind: audit.SessionStopped, Session: model.SessionLabel(sc.sessionOfBobs)},
		{Kind: audit.TokenRevoked, Grant: sc.alice.Grant.ID, AccessOnly: true},
		{Kind: audit.TokenRefreshed, Grant: sc.bob.Grant.ID, Generation: 7, ReadOnly: true},
	}})
	must(t, err)
	s := teststore.Open(t, sc.path, nil)
	if all, err := s.SessionIDs(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("sessions %v, %v", all, err)
	}
	if _, err := s.Access(t.Context(), model.Hash(sc.alice.Pair.Access)); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("the token that was given back: %v", err)
	}
	if a, err := s.Access(t.Context(), model.Hash(sc.bob.Pair.Access)); err != nil || !model.ReadOnly(a.Scope) {
		t.Errorf("the narrowed login has %q, %v", a.Scope, err)
	}
	if _, _, err := s.Rotate(t.Context(), sc.bob.Pair.Refresh, sc.bob.Client, teststore.Pair(time.Now()), store.Asked{}); !errors.Is(err, model.ErrReused) {
		t.Errorf("a token that was replaced five times since: %v", err)
	}
}
