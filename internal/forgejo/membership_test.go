package forgejo_test

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

// personal is a token of alice's of that scope.
func (w *world) personal(t *testing.T, scope string) string {
	t.Helper()
	token, err := w.PersonalToken("alice", scope)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (w *world) alice() string { return strconv.FormatInt(w.UserID("alice"), 10) }

// breaks has a path answer with that status.
func (w *world) breaks(t *testing.T, path string, status int) {
	t.Helper()
	if err := w.Inject(fakeforge.Fault{Path: path, Kind: "status", Status: status}); err != nil {
		t.Fatal(err)
	}
}

func (w *world) join(t *testing.T, user, org, team string) int64 {
	t.Helper()
	id, err := w.Join(user, org, team)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// All pages are read, and private organizations are among what the user is told; others'
// are not.
func TestMembership(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	var want model.Membership
	for i := range 120 {
		name := fmt.Sprintf("org%03d", i)
		id := w.AddOrganization(name, i%2 == 0)
		want.Organizations = append(want.Organizations, model.Named{ID: id, Name: name})
		want.Teams = append(want.Teams, model.Named{ID: w.join(t, "alice", name, "developers"), Name: name + "/developers"})
	}
	w.AddOrganization("other", false)
	w.join(t, "bob", "other", "developers")
	token := w.personal(t, "read:user read:organization")
	for _, administrator := range []bool{false, true} {
		want.Administrator = administrator
		if err := w.SetAdministrator("alice", administrator); err != nil {
			t.Fatal(err)
		}
		got, err := w.client.Membership(t.Context(), token, w.alice())
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(got.Teams, func(a, b model.Named) int { return cmp.Compare(a.Name, b.Name) })
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %d organizations and %d teams, administrator %v:\n%+v", len(got.Organizations), len(got.Teams), got.Administrator, got)
		}
	}
}

// A scope that does not open the user's organizations has nothing asked about them.
func TestMembershipWithinScope(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	w.AddOrganization("acme", false)
	w.join(t, "alice", "acme", "developers")
	narrow := w.with(t, func(cfg *forgejo.Config) { cfg.Scopes = []string{"read:user", "write:issue"} })
	got, err := narrow.Membership(t.Context(), w.personal(t, "read:user"), w.alice())
	if err != nil || len(got.Organizations) != 0 || len(got.Teams) != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	if narrow.MayAsk(forgejo.OrganizationScope) || !narrow.MayAsk(forgejo.TeamScope) || !narrow.MayAsk(forgejo.AdministratorScope) || !w.client.MayAsk(forgejo.OrganizationScope) {
		t.Error("MayAsk is wrong about the scope")
	}
}

func TestMembershipFails(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	w.AddOrganization("acme", false)
	w.join(t, "alice", "acme", "developers")
	good := w.personal(t, "read:user read:organization")
	for name, c := range map[string]struct {
		token, subject string
		prepare        func()
		kind           forgejo.Kind
		status         int
	}{
		"dead token":      {"dead", w.alice(), nil, forgejo.Denied, http.StatusUnauthorized},
		"narrow grant":    {w.personal(t, "read:user"), w.alice(), nil, forgejo.Denied, http.StatusForbidden},
		"another account": {good, "4711", nil, forgejo.Down, http.StatusOK},
		"failing teams": {good, w.alice(), func() {
			w.breaks(t, "/api/v1/user/teams", http.StatusBadGateway)
		}, forgejo.Down, http.StatusBadGateway},
		"suspended": {good, w.alice(), func() {
			if err := w.Suspend("alice", true); err != nil {
				t.Fatal(err)
			}
		}, forgejo.Suspended, http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			if c.prepare != nil {
				c.prepare()
			}
			m, err := w.client.Membership(t.Context(), c.token, c.subject)
			var e *forgejo.Error
			if !errors.As(err, &e) || e.Kind != c.kind || e.Status != c.status {
				t.Errorf("got %v, want %v with %d", err, c.kind, c.status)
			}
			if m.Administrator || len(m.Organizations)+len(m.Teams) > 0 {
				t.Errorf("a failure tells of %+v", m)
			}
			w.ClearFaults()
			if err := w.Suspend("alice", false); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Names are looked up as anybody can, so what is hidden has no number, nor has a name that
// somebody has given up.
func TestLookups(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	acme := w.AddOrganization("acme", false)
	w.AddOrganization("hidden", true)
	bob := w.UserID("bob")
	if err := w.Rename("bob", "robert"); err != nil {
		t.Fatal(err)
	}
	lookUp := func(want int64, got int64, err error) {
		t.Helper()
		if err != nil || got != want {
			t.Errorf("got %d, %v, want %d", got, err, want)
		}
	}
	users := func(want int64, name string) {
		t.Helper()
		got, err := w.client.UserID(t.Context(), name)
		lookUp(want, got, err)
	}
	organizations := func(want int64, name string) {
		t.Helper()
		got, err := w.client.OrganizationID(t.Context(), name)
		lookUp(want, got, err)
	}
	users(w.UserID("alice"), "Alice")
	users(bob, "robert")
	users(0, "bob")
	users(0, "nobody")
	users(0, "../orgs/acme")
	organizations(acme, "ACME")
	organizations(0, "hidden")
	organizations(0, "alice")
	w.breaks(t, "/api/v1/users/alice", http.StatusForbidden) // sign-in is required
	users(0, "alice")
	w.ClearFaults()
	w.breaks(t, "/api/v1/users/alice", http.StatusBadGateway)
	if _, err := w.client.UserID(t.Context(), "alice"); !errors.Is(err, model.ErrForgejoDown) {
		t.Errorf("got %v of a forge that fails", err)
	}
}
