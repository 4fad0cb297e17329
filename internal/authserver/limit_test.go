package authserver_test

import (
	"net/http"
	"testing"
	"time"
)

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
