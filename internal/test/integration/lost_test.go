package integration

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

// A user who revokes the application at the forge, or is deleted there, is told at the
// first call, and nothing goes on in the user's name.
func TestLoginLostAtTheForge(t *testing.T) {
	for name, lose := range map[string]func(*fakeforge.Server) error{
		"revoked": func(f *fakeforge.Server) error { _, err := f.RevokeGrants("alice"); return err },
		"deleted": func(f *fakeforge.Server) error { return f.DeleteUser("alice") },
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, "standin")
			token := w.token(w.mustConnect("alice"))
			other, session := w.begin(token), w.begin(token)
			bob := w.mustConnect("bob")
			w.login("alice") // for whose first session a unit waits
			w.until("all backends run", func() bool { return w.processes() == 5 })
			w.must(lose(w.forge))
			for _, id := range []string{session, other, ""} {
				if r := w.post(token, id, whoAmI); r.status != 401 || !strings.Contains(r.header.Get("WWW-Authenticate"), "resource_metadata=") {
					t.Errorf("got %d %s, want the challenge", r.status, r.body)
				}
			}
			w.waitLog("FJMCP_EVENT=session_stopped", 3)
			w.until("alice's backends are gone", func() bool { return w.processes() == 1 })
			if n := strings.Count(w.log.String(), "FJMCP_OUTCOME=revoked"); n != 3 {
				t.Errorf("%d sessions were revoked, want 3", n)
			}
			w.mustCall(bob, "get_my_user_info", nil, "bob")
		})
	}
}

// Where a token has run out and the forge cannot be asked for another, the login is not
// blamed, and the session goes on when the forge is back.
func TestForgeDownAtTheRefresh(t *testing.T) {
	w := start(t, "standin")
	_, tokens := w.login("alice")
	token := tokens.field("access_token")
	session := w.begin(token)
	for _, path := range []string{fakeforge.TokenPath, fakeforge.IntrospectPath} {
		w.must(w.forge.Inject(fakeforge.Fault{Path: path, Kind: "status", Status: 503}))
	}
	w.forge.ExpireAccessTokens()
	text, failed := w.tool(token, session, "get_my_user_info", map[string]any{}).toolResult()
	if !failed || !strings.Contains(text, "Forgejo cannot be reached right now") {
		t.Errorf("got %q", text)
	}
	w.waitLog("FJMCP_OUTCOME=forge_unreachable", 1)
	w.forge.ClearFaults()
	w.until("the session works again", func() bool {
		text, failed := w.tool(token, session, "get_my_user_info", map[string]any{}).toolResult()
		return !failed && strings.Contains(text, "alice")
	})
}

// Where the application was deleted at the forge nobody is told that the forge is away, or
// that forgejo-mcp has crashed.
func TestApplicationDeletedAtTheForge(t *testing.T) {
	w := start(t, "standin")
	_, tokens := w.login("alice")
	token := tokens.field("access_token")
	session := w.begin(token)
	w.must(w.forge.DeleteApp(w.broker.ClientID))
	text, failed := w.tool(token, session, "get_my_user_info", map[string]any{}).toolResult()
	if !failed || !strings.Contains(text, "its operator finds the cause in the journal") {
		t.Errorf("a call is told %q", text)
	}
	if r := w.post(token, "", initialize); !strings.Contains(r.body, "its operator finds the cause in the journal") {
		t.Errorf("a new session is told %s", r.body)
	}
	w.ready(http.StatusServiceUnavailable, "oauth-application", "failing")
	if n := strings.Count(w.log.String(), "FJMCP_OUTCOME=crashed"); n != 0 {
		t.Errorf("%d crashes", n)
	}
}

// A forge that was restored from a backup counts from a former number. Who logs in then
// is in, whatever is stored of before.
func TestForgeRestoredFromABackup(t *testing.T) {
	w := start(t, "standin")
	alice := w.mustConnect("alice")
	restore := w.forge.Backup()
	for range 3 {
		w.forge.ExpireAccessTokens()
		w.mustCall(alice, "get_my_user_info", nil, "alice")
	}
	restore()
	w.forge.Advance(time.Minute)
	again := w.mustConnect("alice")
	w.mustCall(again, "get_my_user_info", nil, "alice")
}

// The first request of a user whose login is lost may be one that starts a unit.
func TestLoginLostBeforeAStart(t *testing.T) {
	for name, lose := range map[string]func(*fakeforge.Server) error{
		"revoked":   func(f *fakeforge.Server) error { _, err := f.RevokeGrants("alice"); return err },
		"suspended": func(f *fakeforge.Server) error { return f.Suspend("alice", true) },
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, "standin")
			token := w.token(w.mustConnect("alice"))
			w.must(lose(w.forge))
			if r := w.post(token, "", initialize); r.status != 401 {
				t.Errorf("got %d %s, want the challenge", r.status, r.body)
			}
		})
	}
}
