package browser

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// openAccount logs in to the account page.
func (w *world) openAccount(b *tab, user string) {
	w.t.Helper()
	b.forget()
	b.open(w.url + "/account")
	b.see("Log in to see which applications")
	b.press("Log in with Forgejo")
	b.until("the account page", func() bool { return strings.Contains(b.text(), "Logged in as "+user) || b.atForge(user) })
}

// A person connects, chooses read-only, sees a write refused with words that
// help, opens the account page, disconnects, and the client is asked to log in
// again.
func TestReadOnlyToDisconnect(t *testing.T) {
	w := newWorld(t)
	person := &login{tab: newBrowser(t), readOnly: true}
	client := w.connect(person)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	text, failed, err := call(ctx, client, "list_repo_issues", map[string]any{"owner": "alice", "repo": "hello"})
	if err != nil || failed {
		t.Fatalf("reading: %q, %v", text, err)
	}
	text, failed, err = call(ctx, client, "create_issue", map[string]any{"owner": "alice", "repo": "hello", "title": "x"})
	if err != nil || !failed || !strings.Contains(text, "read-only") || !strings.Contains(text, w.url+"/account") {
		t.Fatalf("writing: %q, failed %t, %v", text, failed, err)
	}

	b := person.tab
	w.openAccount(b, "alice")
	b.see("Walking client", "Read only", "127.0.0.1:33418", "1 open, 1 running")
	b.inspect("account-one")
	b.press("Give it an address that shows fewer.")
	b.see("Fewer tools", w.url+"/mcp/x/issues")
	b.open(w.url + "/account")
	// The login to the page has replaced Forgejo's token set. The client goes on.
	if text, failed, err = call(ctx, client, "get_my_user_info", nil); err != nil || failed {
		t.Fatalf("after the login to the account page: %q, %v", text, err)
	}
	b.press("Disconnect Walking client")
	b.see("Its sessions end at once, with all that is under way in them.")
	b.inspect("account-asks")
	started := time.Now()
	b.press("Yes, disconnect it: Walking client")
	b.see("The application is disconnected and its sessions have ended.", "No application is connected.", "This server keeps no Forgejo token of yours.")
	t.Logf("disconnected in %s", time.Since(started))
	b.inspect("account-none")
	if log := w.log.String(); !strings.Contains(log, "FJMCP_EVENT=session_stopped") || !strings.Contains(log, "FJMCP_EVENT=client_disconnected") {
		t.Error("the session's end or the disconnection is not in the audit")
	}
	b.press("Open Forgejo's settings")
	b.see("Authorized OAuth2 applications")

	if person.times != 1 {
		t.Fatalf("asked to log in %d times before", person.times)
	}
	again, err := client.Again(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if person.times != 2 {
		t.Errorf("asked to log in %d times, want a second after the disconnection", person.times)
	}
}

// One is disconnected and the others stay; then all.
func TestDisconnectOneThenAll(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(t)
	for _, name := range []string{"First client", "Second client", "Third client"} {
		c := w.register(name, w.siteURL+"/callback")
		b.forget()
		b.open(c.authorizeURL())
		b.press("Continue to Forgejo login")
		b.throughForge("alice", c.redirectURI)
		b.see("The client got: code state iss")
		c.tokens(b)
	}
	other := w.register("Bob's client", w.siteURL+"/callback")
	bob := newBrowser(t)
	bob.open(other.authorizeURL())
	bob.press("Continue to Forgejo login")
	bob.throughForge("bob", other.redirectURI)
	bob.see("The client got: code state iss")
	other.tokens(bob)

	w.openAccount(b, "alice")
	b.see("First client", "Second client", "Third client", "Returned to\nelsewhere.localhost")
	b.lacks("Bob's client")
	b.inspect("account-three")
	b.press("Disconnect Second client")
	b.press("Yes, disconnect it: Second client")
	b.see("The application is disconnected")
	b.see("First client", "Third client")
	b.lacks("Second client")
	b.press("Disconnect all")
	b.press("Yes, disconnect all")
	b.see("All applications are disconnected", "No application is connected.")
	b.press("Log out")
	b.see("You are logged out here.")
	b.open(w.url + "/account")
	b.see("Log in to see which applications")

	w.openAccount(bob, "bob")
	bob.see("Bob's client")
}

// The page works without a mouse: each button says what it is for.
func TestAccountByKeyboard(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(t)
	c := w.register("Example client", w.siteURL+"/callback")
	b.open(c.authorizeURL())
	b.press("Continue to Forgejo login")
	b.throughForge("alice", c.redirectURI)
	b.see("The client got: code state iss")
	c.tokens(b)
	w.openAccount(b, "alice")
	for _, want := range []string{strings.TrimPrefix(w.url, "https://"), "Log out", "Disconnect Example client"} {
		b.key(kb.Tab)
		b.until("the focus on "+want, func() bool { return strings.HasPrefix(b.focused(), want) })
	}
	b.key(kb.Enter)
	b.see("Yes, disconnect it")
	b.key(kb.Tab)
	b.until("the focus on the answer", func() bool { return strings.HasPrefix(b.focused(), "Yes, disconnect it") })
	b.key(kb.Enter)
	b.see("The application is disconnected")
}

// Two that call themselves alike and return to one host are told apart.
func TestTwins(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(t)
	var ids []string
	for _, path := range []string{"/callback", "/callback?other"} { // equal registrations are one client
		c := w.register("Twin", w.siteURL+path)
		ids = append(ids, model.ShortID(c.id))
		b.forget()
		b.open(c.authorizeURL())
		b.press("Continue to Forgejo login")
		b.throughForge("alice", c.redirectURI)
		b.see("The client got: code state iss")
		c.tokens(b)
	}
	w.openAccount(b, "alice")
	b.see(ids...)
	b.see("Connected since", " UTC, just now")
	b.inspect("account-twins")
	b.press("Disconnect Twin, ID " + ids[1])
	b.press("Yes, disconnect it: Twin, ID " + ids[1])
	b.see("The application is disconnected", ids[0])
	b.lacks(ids[1])
}
