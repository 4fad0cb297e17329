package operator_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
)

// Where a forge has moved to another URL, a user of before and of now is one by the number,
// and a name that has passed to somebody else meanwhile means neither.
func TestUsersOfAForgeThatMoved(t *testing.T) {
	w := newWorld(t, "a", "b")
	ctx := audit.By(t.Context(), "carol (uid 7)")
	for _, u := range [][]string{{"https://new.example", "sub-alice", "alice-old"}, {"https://new.example", "9", "alice"}} {
		if _, err := w.store.UpsertUser(ctx, u[0], u[1], u[2]); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(who, want string, notFound bool) {
		t.Helper()
		var fault *admin.Error
		if _, err := w.ShowUser(ctx, who); !errors.As(err, &fault) || fault.NotFound != notFound || !strings.Contains(fault.Text, want) {
			t.Errorf("%q: %v", who, err)
		}
	}
	// The name of one is that of the latest URL.
	d, err := w.ShowUser(ctx, "ALICE")
	if err != nil || d.UserID != "9" || d.Logins != 0 {
		t.Errorf("got %+v, %v", d, err)
	}
	refused("", "there is no user", true)
	refused("bob", "https://git.example.org/api/v1/users/bob", true)
	refused("id:77", "there is no user", true)
	refused("id:07", "is no number", false)
	if _, err := w.store.UpsertUser(ctx, "https://third.example", "sub-alice", "alice"); err != nil {
		t.Fatal(err)
	}
	refused("alice", "say which: id:9, id:sub-alice", false)

	ended, err := w.BlockUser(ctx, "id:sub-alice")
	if err != nil || ended.SessionsEnded != 2 || len(ended.Grants) != 1 || !ended.Blocked {
		t.Errorf("got %+v, %v", ended, err)
	}
	log := w.log.String()
	for _, want := range []string{
		`FJMCP_EVENT=user_blocked FJMCP_USER=alice FJMCP_OUTCOME=ok FJMCP_DETAIL="revoked 1 login(s)" FJMCP_OPERATOR="carol (uid 7)" FJMCP_USER_ID=sub-alice`,
		`FJMCP_EVENT=grant_revoked FJMCP_USER=alice`, `FJMCP_GRANT=` + ended.Grants[0].ID + ` FJMCP_READ_ONLY=no`,
	} {
		if strings.Count(log, want) != 1 {
			t.Errorf("want one of %s in\n%s", want, log)
		}
	}
	if strings.Count(log, "FJMCP_OUTCOME=blocked FJMCP_OPERATOR=\"carol (uid 7)\"") != 3 { // a grant, two sessions
		t.Error(log)
	}
}
