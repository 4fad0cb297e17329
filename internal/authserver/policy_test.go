package authserver_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

const (
	onlyBob = "[[grant]]\nname = \"bobs\"\nusers = [\"bob\"]\naccess = \"write\"\n"
	noAlice = "[[grant]]\nname = \"all\"\neveryone = true\naccess = \"write\"\n[[deny]]\nname = \"no-alice\"\nusers = [\"alice\"]\n"
)

// underPolicy restarts the server with a policy.
func (w *world) underPolicy(text string) {
	w.t.Helper()
	w.policy = text
	w.restart()
}

// Whom no rule lets connect is told so, by no more than a rule's name, and nothing that the
// forge gave is kept: neither of this login nor of one that the policy allowed.
func TestPolicyRefusesLogin(t *testing.T) {
	for rules, says := range map[string]string{onlyBob: "No rule of this server lets your account", noAlice: "The rule &#39;no-alice&#39; of this server does not let your account"} {
		w := newWorld(t)
		w.connected()
		if w.keptTokens() != 1 {
			t.Fatal("she is not connected")
		}
		w.underPolicy(rules)
		b := newBrowser()
		page := w.do(b, w.request(http.MethodGet, w.atForge(b, w.newClient().authorizeQuery()), "", "Accept", "text/html"))
		if page.StatusCode != http.StatusForbidden || !strings.Contains(page.body, "Your account may not connect here") || !strings.Contains(page.body, says) ||
			strings.Contains(page.body, "Try again") {
			t.Errorf("%d %s", page.StatusCode, page.body)
		}
		if back := page.link(t, "Back to the application"); !strings.Contains(back, "error=access_denied") {
			t.Errorf("the way back is %s", back)
		}
		if named := strings.Contains(w.trail.String(), "FJMCP_RULE=no-alice"); named != (rules == noAlice) {
			t.Errorf("the audit names the rule: %v\n%s", named, w.trail)
		}
		if n := strings.Count(w.trail.String(), "FJMCP_EVENT=login_failed FJMCP_USER=alice"); n != 1 || !strings.Contains(w.trail.String(), "FJMCP_OUTCOME=policy") || w.keptTokens() != 0 {
			t.Errorf("%d events, %d token sets\n%s", n, w.keptTokens(), w.trail)
		}
		b = newBrowser() // who may not connect may disconnect
		if page := w.atAccount(b); !strings.Contains(page.body, "Yes, disconnect it") {
			t.Errorf("account page: %s", page.body)
		}
	}
}

// A device's user is told so, too, and so is the device.
func TestPolicyRefusesDevice(t *testing.T) {
	w := newDeviceWorld(t)
	w.underPolicy(onlyBob)
	b := newBrowser()
	d := w.ask("")
	page := w.do(b, w.request(http.MethodGet, w.deviceAtForge(b, d, "alice"), "", "Accept", "text/html"))
	if page.StatusCode != http.StatusForbidden || !strings.Contains(page.body, "Your account may not connect here") || w.keptTokens() != 0 {
		t.Errorf("%d, %d token sets\n%s", page.StatusCode, w.keptTokens(), page.body)
	}
	d.poll().wantError(t, 400, "access_denied", "")
}

// What membership grants at the login is the grant's ceiling.
func TestPolicyCeiling(t *testing.T) {
	w := newWorld(t)
	w.forge.AddOrganization("acme", false)
	_, err := w.forge.Join("alice", "acme", "developers")
	w.must(err)
	w.underPolicy("[[grant]]\nname = \"acme\"\norganizations = [\"acme\"]\naccess = \"read\"\ntoolsets = [\"issues\"]\n")
	c := w.newClient()
	token, _ := w.tokens(c, w.logIn(c))
	access, err := w.access(token)
	w.must(err)
	if want := `{"grants":[{"read_only":true,"toolsets":["issues"]}]}`; access.Ceiling != want {
		t.Errorf("ceiling %s, want %s", access.Ceiling, want)
	}
}

// A forge that cannot say at once what a user is a member of leaves the login as it is, to be
// finished when it can.
func TestPolicyWaitsForForge(t *testing.T) {
	w := newWorld(t)
	w.forge.AddOrganization("acme", false)
	_, err := w.forge.Join("alice", "acme", "developers")
	w.must(err)
	w.underPolicy("[[grant]]\nname = \"acme\"\norganizations = [\"acme\"]\naccess = \"read\"\n")
	b := newBrowser()
	callback := w.atForge(b, w.newClient().authorizeQuery())
	w.must(w.forge.Inject(fakeforge.Fault{Path: "/api/v1/user/teams", Kind: "status", Status: http.StatusBadGateway}))
	page := w.do(b, w.request(http.MethodGet, callback, "", "Accept", "text/html"))
	if page.StatusCode != http.StatusServiceUnavailable || !strings.Contains(page.body, "Forgejo does not answer") {
		t.Fatalf("%d %s", page.StatusCode, page.body)
	}
	w.forge.ClearFaults()
	again := page.link(t, "Try again")
	if page := w.do(b, w.request(http.MethodGet, again, "")); page.StatusCode != http.StatusSeeOther || !strings.Contains(page.location(t).String(), "code="+model.PrefixCode) {
		t.Errorf("again: %d %s", page.StatusCode, page.body)
	}
}
