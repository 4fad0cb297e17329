package browser

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// The whole way with the mouse, and what the client gets.
func TestConsent(t *testing.T) {
	w := newWorld(t)
	c := w.register("Example client", w.siteURL+"/callback")
	b := newBrowser(t)
	b.open(c.authorizeURL())
	b.see("Connect Example client?", "elsewhere.localhost", "does not know this address", "Repositories", "Read only")
	b.inspect("consent-unknown-site")
	b.press("Continue to Forgejo login")
	b.throughForge("alice", c.redirectURI)
	b.see("The client got: code state iss")
	if scope := c.tokens(b)["scope"]; scope != "forgejo:read forgejo:write" {
		t.Errorf("scope %q", scope)
	}

	// Forgejo now sends this browser back at once. The question comes all the same.
	b.forget()
	b.open(c.authorizeURL())
	b.see("Connect Example client?")
	b.press("Continue to Forgejo login")
	b.see("The client got: code state iss")
	if b.asked(w.forge.URL) == "" || b.asked(c.redirectURI) == "" {
		t.Error("the way did not lead through the forge to the client")
	}
}

// The whole way with the keyboard, to read-only.
func TestConsentByKeyboard(t *testing.T) {
	w := newWorld(t)
	c := w.register("Example client", w.siteURL+"/callback")
	b := newBrowser(t)
	b.open(c.authorizeURL())
	b.see("Connect Example client?")
	b.enter() // to the link in the header
	b.key(kb.Tab)
	b.until("the focus on the choice", func() bool { return strings.HasPrefix(b.focused(), "Read and write") })
	b.key(kb.ArrowDown)
	b.until("the other choice", func() bool { return strings.HasPrefix(b.focused(), "Read only") })
	b.key(kb.Tab)
	b.until("the focus on the button", func() bool { return b.focused() == "Continue to Forgejo login" })
	b.key(kb.Enter)
	b.throughForge("alice", c.redirectURI)
	b.see("The client got: code state iss")
	if scope := c.tokens(b)["scope"]; scope != "forgejo:read" {
		t.Errorf("scope %q", scope)
	}
}

func TestDenial(t *testing.T) {
	w := newWorld(t)
	c := w.register("Example client", w.siteURL+"/callback")
	b := newBrowser(t)
	b.open(c.authorizeURL())
	b.press("Cancel")
	b.see("Not connected", "This server does not know this address", strings.TrimPrefix(w.siteURL, "https://"))
	b.inspect("denied")
	b.press("Back to the application")
	b.see("The client got: state iss error")
	if b.asked(w.forge.URL) != "" {
		t.Error("the browser was sent to the forge")
	}
	// At the forge, too.
	b.forget()
	b.open(c.authorizeURL())
	b.press("Continue to Forgejo login")
	b.signIn("alice")
	b.press("Cancel")
	b.see("Not connected")
	b.press("Back to the application")
	b.see("The client got: state iss error")
}

// Where the browser ends up, what the page says of it, and that no policy of the
// page stops the browser on the way there.
func TestDestinations(t *testing.T) {
	w := newWorld(t)
	const app = "cursor://anysphere.cursor-mcp/oauth/callback"
	w.site.HandleFunc("/to-app", redirectTo(app))
	for _, tc := range []struct{ name, redirectURI, says, ends string }{
		{"http-loopback", "http://127.0.0.1:1/callback", "This is a program on your own computer", "http://127.0.0.1:1/callback"},
		{"app", app, "This opens Cursor, or another app that says it is", app},
		{"unknown-app", "com.example.app:/callback", "This opens an app on your device", "com.example.app:/callback"},
		{"site-to-app", w.siteURL + "/to-app", "does not know this address", app},
		{"known-site", "https://claude.ai/api/mcp/auth_callback", "This address belongs to Claude", ""},
	} {
		c := w.register("Example client", tc.redirectURI)
		b := newBrowser(t) // Chromium's question whether to open an app would cover the next page
		b.open(c.authorizeURL())
		b.see("Connect Example client?", tc.says)
		if tc.name == "app" || tc.name == "http-loopback" || tc.name == "known-site" {
			b.inspect("consent-" + tc.name)
		}
		if tc.ends == "" {
			continue
		}
		b.press("Continue to Forgejo login")
		b.throughForge("alice", tc.ends)
		if tc.redirectURI == tc.ends && !strings.Contains(b.asked(tc.ends), "code=") {
			t.Errorf("%s: no code in %s", tc.name, b.asked(tc.ends))
		}
	}
}

// A client that asks to read only gets no more, and is offered no more.
func TestClientAsksToReadOnly(t *testing.T) {
	w := newWorld(t)
	c := w.register("A client with quite a long name, as some have, to see how it wraps", w.siteURL+"/callback")
	b := newBrowser(t)
	b.open(c.authorizeURL("scope", "forgejo:read"))
	b.see("It asks to read only.")
	b.lacks("Read and write")
	b.inspect("consent-asks-read-only")
	b.press("Continue to Forgejo login")
	b.throughForge("alice", c.redirectURI)
	b.see("The client got: code state iss")
	if scope := c.tokens(b)["scope"]; scope != "forgejo:read" {
		t.Errorf("scope %q", scope)
	}
}

// Every page that says no says what to do next.
func TestErrorPages(t *testing.T) {
	w := newWorld(t)
	c := w.register("Example client", w.siteURL+"/callback")
	b := newBrowser(t)
	for _, tc := range []struct{ name, url, says string }{
		{"unknown-client", c.authorizeURL("client_id", "nobody"), "Remove the connection in the application and add it again"},
		{"other-redirect", c.authorizeURL("redirect_uri", "https://evil.example/"), "Remove the connection in the application and add it again"},
		{"no-login", w.url + "/oauth/callback?state=x&code=y", "go back to it and connect again"},
		{"account-logged-out", w.url + "/account", "Log in to see which applications"},
		{"account-logged-out-again", w.url + "/account?done=logout", "You are logged out here"},
	} {
		b.open(tc.url)
		b.see(tc.says)
		b.inspect("page-" + tc.name)
	}
	// Forgejo is away when the browser comes back from it.
	b.open(c.authorizeURL())
	b.press("Continue to Forgejo login")
	b.signIn("alice")
	b.see("Authorize fjmcp")
	w.breakForge()
	b.press("Authorize Application")
	b.see("Forgejo does not answer", "Try again")
	b.inspect("page-forgejo-down")
	w.forge.ClearFaults()
	b.press("Try again")
	b.press("Continue to Forgejo login")
	b.see("The client got: code state iss")
}
