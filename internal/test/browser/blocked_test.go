package browser

import (
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
)

// Who is blocked is told so after the login at the forge, with a way back to the client
// that says it there; on the account page, too; and again after the block as before.
func TestBlockedUser(t *testing.T) {
	w := newWorld(t)
	operator := admin.NewCaller(w.admin)
	if _, err := operator.BlockUser(t.Context(), "id:1"); err != nil { // alice, who was never here
		t.Fatal(err)
	}
	c := w.register("Example client", w.siteURL+"/callback")
	b := newBrowser(t)
	b.open(c.authorizeURL())
	b.press("Continue to Forgejo login")
	b.until("the page of the blocked", func() bool { return strings.Contains(b.text(), "Your account is blocked here") || b.atForge("alice") })
	b.see("nothing was connected", "ask the administrators of forgejo.localhost", "does not know this address")
	b.lacks("Try again")
	b.inspect("blocked")
	b.press("Back to the application")
	b.see("The client got: state iss error")

	b.open(w.url + "/account")
	b.press("Log in with Forgejo")
	b.see("Your account is blocked here")
	b.inspect("blocked-account")

	if _, err := operator.UnblockUser(t.Context(), "alice"); err != nil { // the name is known by now
		t.Fatal(err)
	}
	b.forget()
	b.open(c.authorizeURL())
	b.press("Continue to Forgejo login")
	b.see("The client got: code state iss")
	c.tokens(b)
}
