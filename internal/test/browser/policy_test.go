package browser

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// newPolicyWorld is a world whose operator has written a policy.
func newPolicyWorld(t *testing.T, rules string, env ...string) *world {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.toml")
	if err := os.WriteFile(path, []byte(rules), 0o644); err != nil {
		t.Fatal(err)
	}
	return newWorld(t, append(env, "FJMCP_BROKER_POLICY="+path)...)
}

const onlyBob = `
[[grant]]
name = "bobs"
users = ["bob"]
access = "write"
`

// Whom the policy lets do nothing is told so after the login at the forge, with a way back
// to the client, which says it there. Nothing leads round in a circle; another is let in.
func TestRefusedByPolicy(t *testing.T) {
	w := newPolicyWorld(t, onlyBob)
	c := w.register("Example client", w.siteURL+"/callback")
	b := newBrowser(t)
	b.open(c.authorizeURL())
	b.press("Continue to Forgejo login")
	b.until("the page of the refused", func() bool {
		return strings.Contains(b.text(), "Your account may not connect here") || b.atForge("alice")
	})
	b.see("Your account may not connect here – ", "No rule of this server lets your account connect applications", "nothing was connected", "ask the administrators of forgejo.localhost")
	b.lacks("Try again", "grant", "bobs", "policy.toml")
	b.inspect("policy")
	b.press("Back to the application")
	b.see("The client got: state iss error")

	b.open(c.authorizeURL()) // the forge lets her through by itself now
	b.press("Continue to Forgejo login")
	b.see("Your account may not connect here")
	b.press("Show my applications")
	b.press("Log in with Forgejo")
	b.see("Logged in as alice", "No application is connected.")

	bob := newBrowser(t)
	bob.open(c.authorizeURL())
	bob.press("Continue to Forgejo login")
	bob.until("bob's way back", func() bool {
		return strings.Contains(bob.text(), "The client got: code state iss") || bob.atForge("bob")
	})
}

// A rule that denies is named, since its operator is asked about it by that name.
func TestDeniedByPolicy(t *testing.T) {
	w := newPolicyWorld(t, "[[grant]]\nname = \"all\"\neveryone = true\naccess = \"write\"\n[[deny]]\nname = \"no-alice\"\nusers = [\"alice\"]\n")
	b := newBrowser(t)
	b.open(w.register("Example client", w.siteURL+"/callback").authorizeURL())
	b.press("Continue to Forgejo login")
	b.until("the page of the refused", func() bool {
		return strings.Contains(b.text(), "Your account may not connect here") || b.atForge("alice")
	})
	b.see("The rule 'no-alice' of this server does not let your account connect applications")
	b.lacks("Try again")
}

// So it is for who enters a device's code; the device is told.
func TestDeviceRefusedByPolicy(t *testing.T) {
	w := newPolicyWorld(t, onlyBob, "FJMCP_BROKER_DEVICE_GRANT=on", "FJMCP_BROKER_TRUSTED_PROXIES=127.0.0.1")
	d := w.ask("Nightly report", "198.51.100.7")
	b := newBrowser(t)
	b.open(d.Complete)
	b.press("Continue")
	b.press("Yes, continue to Forgejo login")
	b.throughForge("alice", w.url+"/oauth/callback")
	b.see("Your account may not connect here", "nothing was connected")
	b.lacks("Try again", "Back to the application")
	b.inspect("policy-device")
	if got := d.poll(); got["error"] != "access_denied" {
		t.Errorf("the device is told %v", got)
	}
	b.open(d.Complete)
	b.press("Continue")
	b.see("This code is unknown, was used already")
}
