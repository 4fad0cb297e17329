package integration

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

// number is a user's at the fake forge.
func (w *world) number(user string) string {
	w.t.Helper()
	return w.query("SELECT subject FROM users WHERE name = ?", user)
}

// One command ends all that a user has, whatever it is at: when it is over, nothing of it
// works any more, other users notice nothing, and the audit tells of all of it.
func TestBlockEndsAUser(t *testing.T) {
	w := start(t, "standin")
	ctx := t.Context()
	alice, bob := w.mustConnect("alice"), w.mustConnect("bob")
	token := w.token(alice)
	answered := w.held(token, alice.ID())
	own := w.open("GET", token, alice.ID(), "")
	own.next() // it begins with an event that is empty
	stream := w.open("POST", token, alice.ID(), slowly("x", 600_000, ""))
	stream.next()
	sse := w.listen(token)
	sse.initialize()
	idle, idleTokens := w.login("alice")
	pending, err := w.register(ctx)
	w.must(err)
	code, err := w.code(ctx, pending, "alice")
	w.must(err)
	number := w.number("alice")

	began := time.Now()
	s := w.ctl("users", "block", "alice", "--yes")
	t.Logf("blocked within %v", time.Since(began))
	if s.status != 0 || !strings.Contains(s.out, "alice (id:"+number+") is blocked: 3 logins and 2 sessions ended.") {
		t.Errorf("block: %+v", s)
	}
	if left := w.list("--user", "alice"); len(left) != 0 {
		t.Errorf("sessions are left: %+v", left)
	}
	for what, r := range map[string]response{
		"a call":              w.post(token, alice.ID(), whoAmI),
		"a new session":       w.post(token, "", initialize),
		"another login":       w.post(idleTokens.field("access_token"), "", initialize),
		"the stream's events": w.doAt("GET", "/sse", token, ""),
	} {
		if r.status != 401 || !strings.Contains(r.header.Get("WWW-Authenticate"), "the access token was revoked") {
			t.Errorf("%s got %d %v %s", what, r.status, r.header, r.body)
		}
	}
	refreshed, err := w.redeem(ctx, w.broker.URL, refreshForm(idle, idleTokens.field("refresh_token")))
	w.must(err)
	redeemed, err := w.redeem(ctx, w.broker.URL, codeForm(pending, code))
	w.must(err)
	if refreshed.status != 400 || redeemed.status != 400 || w.query("SELECT COUNT(*) FROM forgejo_tokens") != "1" {
		t.Errorf("refresh %+v, code %+v", refreshed, redeemed)
	}
	if r := <-answered; !strings.Contains(r.body, `"error"`) {
		t.Errorf("the call in flight got %d %s", r.status, r.body)
	}
	if got := answers(t, stream.rest())[`"x"`]; !strings.Contains(got, `"error"`) {
		t.Errorf("the call on a stream got %s", got)
	}
	own.rest()
	sse.rest()
	w.forge.ClearFaults()
	w.until("one process is left", func() bool { return w.processes() == 1 })

	for range 2 {
		if _, err := w.code(ctx, pending, "alice"); err == nil || !strings.Contains(err.Error(), "blocked") {
			t.Errorf("a new login: %v", err)
		}
	}
	w.mustCall(bob, "get_my_user_info", nil, "bob")
	by := " FJMCP_OPERATOR=" + operator(t)
	w.waitLog("FJMCP_EVENT=user_blocked FJMCP_USER=alice FJMCP_OUTCOME=ok FJMCP_DETAIL=\"revoked 3 login(s)\""+by+" FJMCP_USER_ID="+number, 1)
	w.waitLog("FJMCP_EVENT=grant_revoked FJMCP_USER=alice ", 3)
	w.waitLog("FJMCP_OUTCOME=blocked"+by, 5) // 3 grants, 2 sessions
	w.waitLog("FJMCP_EVENT=login_failed FJMCP_USER=alice", 2)

	if s := w.ctl("users", "unblock", "id:"+number); s.status != 0 {
		t.Errorf("unblock: %+v", s)
	}
	w.mustCall(w.mustConnect("alice"), "get_my_user_info", nil, "alice")
	if r := w.post(token, "", initialize); r.status != 401 {
		t.Errorf("what the block has ended is back: %d %s", r.status, r.body)
	}
}

// A refresh that is at the forge while the user's logins end brings nothing back, and nobody
// waits for it; the user's next login does not have the old connections work again.
func TestRevokeDuringARefresh(t *testing.T) {
	w := start(t, "standin")
	alice := w.mustConnect("alice")
	token := w.token(alice)
	w.forge.ExpireAccessTokens()
	w.must(w.forge.Inject(fakeforge.Fault{Path: fakeforge.TokenPath, Kind: "late", Count: 1}))
	answered := make(chan response, 1)
	go func() { answered <- w.post(token, alice.ID(), whoAmI) }()
	w.until("a refresh is at the forge", func() bool { return w.forge.Waiting() == 1 })
	if s := w.ctl("users", "revoke", "alice", "--yes"); s.status != 0 || !strings.Contains(s.out, "1 login and 1 session ended.") {
		t.Fatalf("revoke: %+v", s)
	}
	if r := <-answered; r.status == 200 && !strings.Contains(r.body, `"error"`) {
		t.Errorf("the call got %d %s", r.status, r.body)
	}
	refreshes := w.forge.Stats().Refreshes
	w.forge.ClearFaults()
	if refreshes != 1 {
		t.Errorf("%d refreshes were honoured", refreshes)
	}
	w.until("the refresh is over", func() bool {
		return w.query("SELECT COUNT(*) FROM leases WHERE name LIKE 'forgejo-refresh/%'") == "0"
	})
	if n := w.query("SELECT COUNT(*) FROM forgejo_tokens"); n != "0" {
		t.Errorf("%s token sets are kept", n)
	}
	w.mustCall(w.mustConnect("alice"), "get_my_user_info", nil, "alice")
	if r := w.post(token, alice.ID(), whoAmI); r.status != 401 {
		t.Errorf("the old connection got %d %s", r.status, r.body)
	}
	w.waitLog("FJMCP_OUTCOME=revoked", 2) // a grant and a session
}

// Whichever is first, the block or the end of a login: afterwards nothing of the user works.
func TestBlockRacesLoginsOfPrograms(t *testing.T) {
	w := start(t, "standin")
	ctx := t.Context()
	client, _ := w.login("alice")
	number, kept := w.number("alice"), 0
	for round := range 5 {
		var race sync.WaitGroup
		var mu sync.Mutex
		var tokens []string
		for range 3 {
			race.Go(func() {
				token := w.logInAndBegin(ctx, client)
				mu.Lock()
				defer mu.Unlock()
				if token != "" {
					tokens = append(tokens, token)
				}
			})
		}
		race.Go(func() {
			time.Sleep(time.Duration(round) * 20 * time.Millisecond) // other turns, whatever they are
			if s := w.ctl("users", "block", "id:"+number, "--yes"); s.status != 0 {
				t.Errorf("block: %+v", s)
			}
		})
		race.Wait()
		kept += len(tokens)
		for _, token := range tokens {
			if r := w.post(token, "", initialize); r.status != 401 {
				t.Errorf("a token got %d %s", r.status, r.body)
			}
		}
		if s := w.ctl("grants", "list", "--json"); s.out != "[]\n" {
			t.Errorf("grants: %+v", s)
		}
		if left := w.list(); len(left) != 0 || w.query("SELECT COUNT(*) FROM forgejo_tokens") != "0" {
			t.Errorf("sessions: %+v", left)
		}
		w.until("no process is left", func() bool { return w.processes() == 0 })
		w.must(w.ctlOK("users", "unblock", "id:"+number))
	}
	t.Logf("%d of 15 logins had come to their tokens", kept)
}

func (w *world) ctlOK(args ...string) error {
	if s := w.ctl(args...); s.status != 0 {
		return fmt.Errorf("%v: %+v", args, s)
	}
	return nil
}

// logInAndBegin logs alice in and begins a session, as far as that goes.
func (w *world) logInAndBegin(ctx context.Context, client string) (token string) {
	back, err := loginclient.NewBrowser(w.transport, "alice", "alice-password").Authorize(ctx, w.authorizeURL(client))
	if err != nil {
		return ""
	}
	r, err := w.redeem(ctx, w.broker.URL, codeForm(client, back.Code))
	if err != nil || r.status != 200 {
		return ""
	}
	token = r.field("access_token")
	_, _ = w.fetch(ctx, "POST", w.url+"/mcp", strings.NewReader(initialize),
		"Authorization", "Bearer "+token, "Content-Type", "application/json", "Accept", "application/json, text/event-stream")
	return token
}

// One login ends, and what else the user has goes on.
func TestRevokeOneGrant(t *testing.T) {
	w := start(t, "standin")
	first, second := w.mustConnect("alice"), w.mustConnect("alice")
	token := w.token(first)
	grant := w.query("SELECT grant_id FROM sessions WHERE id = ?", first.ID())
	if s := w.ctl("grants", "revoke", grant[:8]); s.status != 0 || !strings.Contains(s.out, "revoked  "+grant+"  alice  walk") {
		t.Errorf("revoke: %+v", s)
	}
	if r := w.post(token, first.ID(), whoAmI); r.status != 401 {
		t.Errorf("its token got %d %s", r.status, r.body)
	}
	w.mustCall(second, "get_my_user_info", nil, "alice")
	if left := w.list(); len(left) != 1 {
		t.Errorf("sessions: %+v", left)
	}
	w.waitLog("FJMCP_EVENT=grant_revoked FJMCP_USER=alice FJMCP_CLIENT=walk FJMCP_OUTCOME=operator", 1)
	w.waitLog("FJMCP_GRANT="+grant, 2) // the login and its end, at least
	if s := w.ctl("users", "show", "alice"); s.status != 0 || !strings.Contains(s.out, "1 running, 0 dormant") || !strings.Contains(s.out, "1 login.") {
		t.Errorf("show: %+v", s)
	}
}

// A second broker process on the same database sees a block as well.
func TestBlockHoldsInAnotherProcess(t *testing.T) {
	w := start(t, "standin")
	client, tokens := w.login("alice")
	other := w.second() // has the admin socket from now on
	bearer := func() int {
		r, err := w.fetch(t.Context(), "POST", w.url+"/mcp", strings.NewReader(initialize),
			"Authorization", "Bearer "+tokens.field("access_token"), "Content-Type", "application/json", "Accept", "application/json, text/event-stream")
		w.must(err)
		return r.status
	}
	if status := bearer(); status != 200 {
		t.Fatalf("before: %d", status)
	}
	w.must(w.ctlOK("users", "block", "alice", "--yes"))
	w.until("the first process knows", func() bool { return bearer() == 401 })
	for _, base := range []string{w.broker.URL, other} {
		r, err := w.redeem(t.Context(), base, refreshForm(client, tokens.field("refresh_token")))
		w.must(err)
		if r.status != 400 {
			t.Errorf("%s: a refresh got %d %s", base, r.status, r.body)
		}
	}
	if _, err := w.code(t.Context(), client, "alice"); err == nil || !strings.Contains(err.Error(), "blocked") {
		t.Errorf("a new login: %v", err)
	}
}
