package authserver_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

const aliceNumber = "1" // at the fake forge

func (w *world) block() {
	w.t.Helper()
	_, _, err := w.store.BlockUser(w.t.Context(), aliceNumber, "root (uid 0)")
	w.must(err)
}

func (w *world) revoke() {
	w.t.Helper()
	_, err := w.store.RevokeUser(w.t.Context(), aliceNumber)
	w.must(err)
}

// keptTokens counts the forge's token sets that are stored.
func (w *world) keptTokens() (n int) {
	w.t.Helper()
	uses, err := w.store.WithholdForgejoTokens(w.t.Context(), func(string) bool { return true })
	w.must(err)
	for _, use := range uses {
		n += use.Users
	}
	return n
}

// Who was blocked before the broker ever knew more than a number is told so by a page, with
// a way back to the client that carries the error and its state, or in JSON. Nothing of the
// forge's is kept. Afterwards all works.
func TestBlockedUserIsTold(t *testing.T) {
	w := newWorld(t)
	w.block()
	c := w.newClient()
	b := newBrowser()
	page := w.do(b, w.request(http.MethodGet, w.atForge(b, c.authorizeQuery()), "", "Accept", "text/html"))
	if page.StatusCode != http.StatusForbidden || !strings.Contains(page.body, "Your account is blocked here") || !strings.Contains(page.body, "ask the administrators of "+strings.TrimPrefix(w.forge.URL, "http://")) ||
		strings.Contains(page.body, "Try again") {
		t.Errorf("%d %s", page.StatusCode, page.body)
	}
	back := page.link(t, "Back to the application")
	for _, want := range []string{"http://127.0.0.1:9999/cb?", "error=access_denied", "state=client+state+%26%3D", "iss=", "error_description="} {
		if !strings.Contains(back, want) {
			t.Errorf("the way back is %s, without %s", back, want)
		}
	}
	again := w.do(b, w.request(http.MethodGet, w.atForge(b, c.authorizeQuery()), "", "Accept", "application/json"))
	again.wantError(t, http.StatusForbidden, "access_denied", "blocked")
	if n := strings.Count(w.trail.String(), "FJMCP_EVENT=login_failed FJMCP_USER=alice FJMCP_CLIENT=\"Test <Client>\" FJMCP_OUTCOME=blocked"); n != 2 || w.keptTokens() != 0 {
		t.Errorf("%d events, %d token sets\n%s", n, w.keptTokens(), w.trail)
	}

	w.must(w.store.UnblockUser(t.Context(), aliceNumber))
	access, _ := w.tokens(c, w.logIn(c))
	w.must(w.bearer(access))
}

// The account page is closed to a blocked user as well, also to one who is at the forge.
func TestBlockedUserHasNoAccountPage(t *testing.T) {
	w := newWorld(t)
	b := newBrowser()
	w.atAccount(b)
	w.block()
	if page := w.do(b, w.request(http.MethodGet, w.url+"/account", "")); !strings.Contains(page.body, "Log in with Forgejo") {
		t.Errorf("logged in before: %s", page.body)
	}
	b = newBrowser()
	callback := w.accountCallback(b)
	if page := w.do(b, w.request(http.MethodGet, callback, "")); page.StatusCode != http.StatusForbidden || !strings.Contains(page.body, "Your account is blocked here") ||
		strings.Contains(strings.Join(page.Header["Set-Cookie"], " "), "fjmcp-account") {
		t.Errorf("%d %v %s", page.StatusCode, page.Header, page.body)
	}
	if !strings.Contains(w.trail.String(), `FJMCP_OUTCOME=blocked FJMCP_DETAIL="for the account page`) {
		t.Error(w.trail)
	}
	// Also whose grant at the forge is in the way.
	w.forgeGrant("all")
	for _, callback := range []string{w.accountCallback(b), w.atForge(b, w.newClient().authorizeQuery())} {
		if page := w.do(b, w.request(http.MethodGet, callback, "")); !strings.Contains(page.body, "Your account is blocked here") {
			t.Errorf("with a broader grant: %d %s", page.StatusCode, page.body)
		}
	}
}

// Whoever is at the forge while the operator ends the user's logins does not come through,
// with a client or to the account page; the next login does.
func TestRevokeEndsLoginsUnderWay(t *testing.T) {
	w := newWorld(t)
	c, b := w.newClient(), newBrowser()
	_, other := w.connected()
	w.must(w.bearer(other))
	forClient, forAccount := w.atForge(b, c.authorizeQuery()), w.accountCallback(b)
	w.revoke()
	for _, callback := range []string{forClient, forAccount} {
		page := w.do(b, w.request(http.MethodGet, callback, ""))
		if page.StatusCode != http.StatusForbidden || !strings.Contains(page.body, "This login was ended") || w.keptTokens() != 0 {
			t.Errorf("%d, %d token sets\n%s", page.StatusCode, w.keptTokens(), page.body)
		}
		page.link(t, "Try again")
	}
	access, _ := w.tokens(c, w.logIn(c))
	w.must(w.bearer(access))
}

// forgeGrant has alice grant more at the forge than the broker asks for.
func (w *world) forgeGrant(scope string) {
	w.t.Helper()
	_, err := w.forge.RevokeGrants("alice")
	w.must(err)
	w.throughForge(w.forge.URL + "/login/oauth/authorize?" + url.Values{
		"client_id": {w.forge.App.ClientID}, "redirect_uri": {w.url + "/oauth/callback"}, "response_type": {"code"}, "scope": {scope}, "state": {"s"},
	}.Encode())
}

// accountCallback begins a login to the account page and returns where the forge sends it.
func (w *world) accountCallback(b *http.Client) string {
	w.t.Helper()
	to := w.send(b, w.do(b, w.request(http.MethodGet, w.url+"/account", "")), "/account/login", 0).location(w.t)
	return w.throughForge(to.String())
}

// A connection in wrong hands does not come back to life with the true user's next login,
// as it does after the forge alone has ended it.
func TestRevokedConnectionStaysDead(t *testing.T) {
	for name, revoked := range map[string]bool{"revoked": true, "left alone": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			thief := w.newClient()
			stolen, refresh := w.tokens(thief, w.logIn(thief))
			code := w.logIn(thief) // a second before
			_, err := w.forge.RevokeGrants("alice")
			w.must(err)
			w.later(2 * time.Hour)
			if _, err := w.upstream.Token(t.Context(), w.alice()); !errors.Is(err, model.ErrForgejoGrantDead) {
				t.Fatalf("the forge still takes the token: %v", err)
			}
			if revoked {
				w.revoke()
			}
			mine := w.newClient()
			access, _ := w.tokens(mine, w.logIn(mine))
			w.must(w.bearer(access))
			if err := w.bearer(stolen); (err == nil) == revoked {
				t.Errorf("the old access token: %v", err)
			}
			if a := w.post("/oauth/token", thief.refreshForm(refresh)); (a.StatusCode == http.StatusOK) == revoked {
				t.Errorf("the old refresh token: %d %s", a.StatusCode, a.body)
			}
			if a := w.post("/oauth/token", thief.tokenForm(code)); a.StatusCode != http.StatusBadRequest {
				t.Errorf("the old code: %d %s", a.StatusCode, a.body)
			}
		})
	}
}

// What a block ended a client is told as of any revoked login.
func TestBlockEndsWhatClientsHold(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	access, refresh := w.tokens(c, w.logIn(c))
	code := w.logIn(c)
	w.must(w.bearer(access)) // it is in the cache now
	w.block()
	if err := w.bearer(access); !errors.Is(err, model.ErrRevoked) {
		t.Errorf("bearer: %v", err)
	}
	w.post("/oauth/token", c.refreshForm(refresh)).wantError(t, 400, "invalid_grant", "revoked")
	w.post("/oauth/token", c.tokenForm(code)).wantError(t, 400, "invalid_grant", "revoked")
}

// A login that was cut off after the forge had issued a token set is not saved for a
// blocked user.
func TestBlockedLoginThatWasCutOff(t *testing.T) {
	w := newWorld(t)
	c, b := w.newClient(), newBrowser()
	callback := w.atForge(b, c.authorizeQuery())
	w.must(w.forge.Inject(fakeforge.Fault{Path: fakeforge.UserinfoPath, Kind: "status", Status: http.StatusBadGateway}))
	if page := w.do(b, w.request(http.MethodGet, callback, "")); page.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("%d %s", page.StatusCode, page.body)
	}
	w.forge.ClearFaults()
	w.block()
	w.advance(2 * time.Minute)
	w.must(w.server.Tidy(t.Context()))
	if logins, err := w.store.UnfinishedLogins(t.Context(), w.now()); err != nil || len(logins) != 0 || w.keptTokens() != 0 {
		t.Errorf("%d logins, %d token sets, %v", len(logins), w.keptTokens(), err)
	}
}

// A block that comes while the forge is asked whose login it is, after the browser is back.
func TestBlockDuringTheCallback(t *testing.T) {
	for _, path := range []string{fakeforge.TokenPath, fakeforge.UserinfoPath, fakeforge.IntrospectPath} {
		w := newWorld(t)
		w.alice() // known already
		c, b := w.newClient(), newBrowser()
		callback := w.atForge(b, c.authorizeQuery())
		w.must(w.forge.Inject(fakeforge.Fault{Path: path, Kind: "late"}))
		answered := make(chan answer, 1)
		request := w.request(http.MethodGet, callback, "")
		go func() {
			resp, err := b.Do(request)
			if err != nil {
				t.Error(err)
				resp = &http.Response{}
			} else {
				resp.Body.Close()
			}
			answered <- answer{Response: resp}
		}()
		for w.forge.Waiting() == 0 {
			time.Sleep(5 * time.Millisecond)
		}
		w.block()
		w.forge.ClearFaults()
		if a := <-answered; a.StatusCode != http.StatusForbidden || w.keptTokens() != 0 {
			t.Errorf("%s: %d, %d token sets", path, a.StatusCode, w.keptTokens())
		}
		if grants, err := w.store.Grants(t.Context()); err != nil || len(grants) != 0 {
			t.Errorf("%s: %+v, %v", path, grants, err)
		}
		if n := strings.Count(w.trail.String(), "FJMCP_OUTCOME=blocked"); n != 1 {
			t.Errorf("%s: %d events\n%s", path, n, w.trail)
		}
	}
}

// A login that its device has yet to fetch is listed with the end of the device's code.
func TestGrantOfAWaitingDevice(t *testing.T) {
	w := newDeviceWorld(t)
	w.ask("").agree()
	if grants, err := w.store.Grants(t.Context()); err != nil || len(grants) != 1 || !grants[0].LastUsedAt.IsZero() || !grants[0].ExpiresAt.After(w.now()) {
		t.Errorf("%+v, %v", grants, err)
	}
}
