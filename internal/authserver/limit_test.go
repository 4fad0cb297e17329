package authserver_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"
	"github.com/fjmcp/fjmcp-broker/internal/gateway"
)

// until429 repeats do, which is answered with want until it is limited, and
// returns the answer that limits.
func until429(t *testing.T, most, want int, do func() answer) answer {
	t.Helper()
	for range most + 1 {
		a := do()
		if a.StatusCode == http.StatusTooManyRequests {
			if a.Header.Get("Retry-After") == "" {
				t.Error("Retry-After is missing")
			}
			return a
		}
		if a.StatusCode != want {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
	}
	t.Fatalf("%d requests were not limited", most+1)
	return answer{}
}

func (w *world) limitedOnce(t *testing.T, endpoint string) {
	t.Helper()
	if n := strings.Count(w.trail.String(), "FJMCP_EVENT=rate_limited FJMCP_OUTCOME="+endpoint+" "); n != 1 {
		t.Errorf("%s was audited %d times", endpoint, n)
	}
}

func TestRegistrationsAreLimited(t *testing.T) {
	w := newWorld(t)
	register := func(headers ...string) answer {
		return w.do(newBrowser(), w.request(http.MethodPost, w.url+"/oauth/register", `{"redirect_uris":["http://127.0.0.1/cb"]}`, headers...))
	}
	for range 2 {
		until429(t, ratelimit.Register.Address.Burst, 201, func() answer { return register() }).wantError(t, 429, "temporarily_unavailable", "too many registrations")
	}
	w.limitedOnce(t, "register")
	if a := register("X-Forwarded-For", "203.0.113.9"); a.StatusCode != 201 {
		t.Errorf("another address: %d", a.StatusCode)
	}
	w.advance(time.Minute)
	if a := register(); a.StatusCode != 201 {
		t.Errorf("a minute later: %d", a.StatusCode)
	}
}

// A limited browser is shown a page, a program told in JSON, and another client
// or address not limited.
func TestAuthorizationsAreLimited(t *testing.T) {
	w := newWorld(t)
	c, other := w.newClient(), w.newClient()
	show := func(c client, headers ...string) answer {
		return w.get(w.url+"/oauth/authorize?"+c.authorizeQuery().Encode(), headers...)
	}
	a := until429(t, ratelimit.Authorize.Client.Burst, 200, func() answer { return show(c) })
	if !strings.Contains(a.body, "Please wait a moment") || a.Header.Get("X-Frame-Options") != "DENY" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	show(c, "Accept", "application/json").wantError(t, 429, "temporarily_unavailable", "too many requests")
	w.limitedOnce(t, "authorize")
	for what, a := range map[string]answer{"another client": show(other), "another address": show(c, "X-Forwarded-For", "203.0.113.9")} {
		if a.StatusCode != 200 {
			t.Errorf("%s: %d", what, a.StatusCode)
		}
	}
}

func TestAnswersToConsentAreLimited(t *testing.T) {
	w := newWorld(t)
	c, b := w.newClient(), newBrowser()
	form := w.consentForm(b, c.authorizeQuery())
	until429(t, ratelimit.Login.Client.Burst, 303, func() answer { return w.decide(b, form, "allow") })
	until429(t, ratelimit.Login.Address.Burst, 403, func() answer { return w.post("/account/login", url.Values{}) })
	w.limitedOnce(t, "login")
}

// Failures are limited per client and address, and good requests never.
func TestFailuresAreLimited(t *testing.T) {
	w := newWorld(t)
	c, other := w.newClient(), w.newClient()
	_, refresh := w.tokens(c, w.logIn(c))
	fail := func(c client, headers ...string) answer {
		return w.post("/oauth/token", c.refreshForm("fjr_wrong"), headers...)
	}
	limited := false
	for range 100 {
		a := fail(c)
		if limited = a.StatusCode == http.StatusTooManyRequests; limited {
			a.wantError(t, 429, "temporarily_unavailable", "unknown")
			if a.Header.Get("Retry-After") != "1" {
				t.Errorf("Retry-After %q", a.Header.Get("Retry-After"))
			}
			break
		}
		a.wantError(t, 400, "invalid_grant", "")
	}
	if !limited {
		t.Fatal("100 failures were not limited")
	}
	if a := w.post("/oauth/token", c.refreshForm(refresh)); a.StatusCode != 200 {
		t.Errorf("a good refresh of that client: %d %s", a.StatusCode, a.body)
	}
	fail(other).wantError(t, 400, "invalid_grant", "")
	fail(c, "X-Forwarded-For", "198.51.100.1, 203.0.113.9").wantError(t, 400, "invalid_grant", "") // the proxy says it is another host
	fail(c, "X-Forwarded-For", "203.0.113.9, nonsense").wantError(t, 429, "temporarily_unavailable", "")
	w.advance(2 * time.Second)
	fail(c).wantError(t, 400, "invalid_grant", "")
}

// What one address may fail is bounded over all clients, which it may invent.
func TestFailuresOfOneAddressAreLimited(t *testing.T) {
	w := newWorld(t)
	for i := range 1000 {
		c := client{id: "invented-" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))}
		a := w.post("/oauth/token", c.refreshForm("fjr_wrong"), "X-Forwarded-For", "2001:db8::"+string(rune('1'+i%9)))
		if a.StatusCode == http.StatusTooManyRequests {
			return
		}
		a.wantError(t, 401, "invalid_client", "")
	}
	t.Error("1000 failures were not limited")
}

// A token that is no good counts; none at all, and a good one, never do.
func TestFailedBearersAreLimited(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	good, _ := w.tokens(c, w.logIn(c))
	public, err := url.Parse(w.url)
	w.must(err)
	gateway.New(gateway.Config{PublicURL: public, Auth: w.server, FailedBearers: ratelimit.New(ratelimit.Config{
		Rule: ratelimit.Bearer, Addresses: &ratelimit.Addresses{}, Audit: audit.New(w.trail), Now: w.now,
	})}).Routes(w.mux.Load())
	call := func(token string) answer {
		if token == "" {
			return w.do(newBrowser(), w.request(http.MethodPost, w.url+"/mcp", "{}"))
		}
		return w.do(newBrowser(), w.request(http.MethodPost, w.url+"/mcp", "{}", "Authorization", "Bearer "+token))
	}
	a := until429(t, ratelimit.Bearer.Client.Burst, 401, func() answer { return call("fja_wrong") })
	if e, ok := a.json(t)["error"].(map[string]any); !ok || e["code"] == nil {
		t.Errorf("not JSON-RPC: %s", a.body)
	}
	w.limitedOnce(t, "bearer")
	if a := call("fja_another"); a.StatusCode != 401 {
		t.Errorf("another token: %d", a.StatusCode)
	}
	for range 2 * ratelimit.Bearer.Client.Burst {
		if a := call(""); a.StatusCode != 401 {
			t.Fatalf("no token: %d", a.StatusCode)
		}
	}
	if a := call(good); a.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("a good token: %d %s", a.StatusCode, a.body)
	}
}
