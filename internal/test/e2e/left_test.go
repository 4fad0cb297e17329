package e2e

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
)

// Somebody has just left the company: one command, and when it is over there is no session,
// no token and no new login of theirs, and the journal says what ended, and by whom. A
// colleague works on.
func TestE2ESomebodyLeft(t *testing.T) {
	s := enabled(t, standin(t), nil)
	bob := connect(t, s, "bob")
	useTools(t, bob, "bob")
	colleague := units(t, s)
	first, second := logIn(t, s, "alice"), logIn(t, s, "alice") // two clients
	busy, err := rawClient(t.Context(), s, first.Access)
	must(t, err)
	idle, err := rawClient(t.Context(), s, second.Access)
	must(t, err)
	lost := make(chan error, 1)
	go func() {
		_, err := busy.tool(t.Context(), 2, "slow", map[string]any{"ms": 600_000})
		lost <- err
	}()
	await(t, "the call is in flight", func() bool {
		return strings.Contains(run(t, s, "fjmcpctl", "sessions", "list", "--json"), `"in_flight":1`)
	})
	if n := len(units(t, s)); n != 3 {
		t.Fatalf("%d units run", n)
	}
	since := strings.TrimSpace(run(t, s, "date", "+%s"))

	began := time.Now()
	said := run(t, s, "fjmcpctl", "users", "block", "alice", "--yes")
	took := time.Since(began)
	left := units(t, s)
	t.Logf("the command took %v, the container's way in and out among it; it says:\n%s", took, said)
	if !strings.Contains(said, "is blocked: 2 logins and 2 sessions ended.") {
		t.Errorf("it says %s", said)
	}
	if !slices.Equal(left, colleague) {
		t.Errorf("units are %v, want %v", left, colleague)
	}
	if took > time.Second { // said, not held: the machine may be busy with something else
		t.Logf("SLOW: it took %v", took)
	}
	if err := <-lost; err == nil {
		t.Error("the call in flight was answered")
	}
	for _, c := range []*raw{busy, idle} {
		if status := post(t, s, c.token, c.session); status != http.StatusUnauthorized {
			t.Errorf("a token gets %d", status)
		}
	}
	for _, l := range []tokens{first, second} {
		_, err := s.token(t.Context(), url.Values{"grant_type": {"refresh_token"}, "refresh_token": {l.Refresh}, "client_id": {l.client}})
		if err == nil || !strings.Contains(err.Error(), "invalid_grant") {
			t.Errorf("a refresh: %v", err)
		}
	}
	if _, err := s.Connect(t.Context(), "alice", nil); err == nil || !strings.Contains(err.Error(), "Your account is blocked here") {
		t.Errorf("a new login: %v", err)
	}
	useTools(t, bob, "bob")
	checkLeft(t, s, "@"+since)
}

// checkLeft wants all of it in the journal.
func checkLeft(t *testing.T, s *System, since string) {
	t.Helper()
	for kind, want := range map[string]int{"user_blocked": 1, "grant_revoked": 2, "session_stopped": 2, "login_failed": 1} {
		var found []nspawn.Entry
		await(t, kind+" is in the journal", func() bool {
			found = entries(t, s, "_SYSTEMD_UNIT=fjmcp-broker.service", "FJMCP_EVENT="+kind, "FJMCP_USER=alice", "--since", since)
			return len(found) >= want
		})
		for _, e := range found {
			operator, outcome := "root (uid 0)", "blocked"
			switch kind {
			case "login_failed":
				operator = ""
			case "user_blocked":
				outcome = "ok"
			}
			if len(found) != want || e["FJMCP_USER_ID"] != "1" || e["FJMCP_OPERATOR"] != operator || e["FJMCP_OUTCOME"] != outcome ||
				(e["FJMCP_GRANT"] == "") == (kind == "grant_revoked") {
				t.Errorf("%d of %s: %v", len(found), kind, e)
			}
		}
	}
	if text := run(t, s, "journalctl", "-x", "-u", "fjmcp-broker.service", "FJMCP_EVENT=user_blocked"); !strings.Contains(text, "The operator blocked a user") {
		t.Errorf("the catalog does not explain it:\n%s", text)
	}
}
