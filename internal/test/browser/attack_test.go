package browser

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func redirectTo(target string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, target, http.StatusFound) }
}

// page serves a page of the other site's.
func (w *world) page(path, body string) string {
	w.site.HandleFunc(path, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		fmt.Fprint(rw, "<title>Elsewhere</title>", body)
	})
	return w.siteURL + path
}

// form is a form that another site sends to the broker.
func form(action string, fields url.Values) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<form method="post" action="%s">`, html.EscapeString(action))
	for name := range fields {
		fmt.Fprintf(&b, `<input type="hidden" name="%s" value="%s">`, name, html.EscapeString(fields.Get(name)))
	}
	return b.String() + `<button>Win a prize</button></form>`
}

// fields reads the hidden fields of the page's form that goes to action.
func (b *tab) fields(action string) url.Values {
	b.t.Helper()
	text, err := b.eval(fmt.Sprintf(`new URLSearchParams([...document.querySelectorAll("form[action='%s'] input")].filter(e => e.type == "hidden" || e.checked).map(e => [e.name, e.value])).toString()`, action))
	if err != nil {
		b.t.Fatal(err)
	}
	v, err := url.ParseQuery(text)
	if err != nil || len(v) == 0 {
		b.t.Fatalf("no form to %s: %v", action, err)
	}
	return v
}

// A page elsewhere that the user opens cannot consent, disconnect or log in for
// the user, even with a form it has fetched itself.
func TestCrossSiteRequests(t *testing.T) {
	w := newWorld(t)
	c := w.register("Evil client", w.siteURL+"/callback")
	attacker, victim := newBrowser(t), newBrowser(t)
	victim.open(c.authorizeURL())
	victim.press("Continue to Forgejo login")
	victim.throughForge("alice", c.redirectURI)
	victim.see("The client got: code state iss")
	c.tokens(victim)
	w.openAccount(victim, "alice")

	attacker.open(c.authorizeURL())
	attacker.see("Connect Evil client?")
	consent := attacker.fields(w.url + "/oauth/authorize")
	consent.Set("decision", "allow")
	w.openAccount(attacker, "bob")
	logout := attacker.fields(w.url + "/account/logout")
	for path, body := range map[string]string{
		"/consent":    form(w.url+"/oauth/authorize", consent),
		"/disconnect": form(w.url+"/account/disconnect", url.Values{"client": {""}, "form_token": logout["form_token"]}),
		"/logout":     form(w.url+"/account/logout", logout),
		"/login":      form(w.url+"/account/login", nil),
	} {
		victim.forget()
		victim.open(w.page(path, body))
		victim.press("Win a prize")
		victim.until("an answer to "+path, func() bool { return victim.asked(w.url) != "" && !strings.HasPrefix(victim.text(), "Elsewhere") })
		if got := victim.asked(w.forge.URL); got != "" {
			t.Errorf("%s: the browser was sent to %s", path, got)
		}
	}
	victim.open(w.url + "/account")
	victim.see("Logged in as alice", "Evil client")
}

// No page of the broker is shown in a frame.
func TestFramesAreRefused(t *testing.T) {
	w := newWorld(t)
	c := w.register("Example client", w.siteURL+"/callback")
	b := newBrowser(t)
	for path, target := range map[string]string{
		"/frame-consent": c.authorizeURL(), "/frame-account": w.url + "/account", "/frame-error": w.url + "/oauth/callback?state=x",
	} {
		b.forget()
		b.open(w.page(path, `<iframe src="`+html.EscapeString(target)+`"></iframe><p>Framed`))
		b.see("Framed")
		b.until("the frame's request", func() bool { return b.asked(target) != "" })
		b.until("the refusal of "+target, func() bool { return b.refusedFrames() == 1 })
	}
}

// Two tabs of one browser do not get in each other's way.
func TestTwoTabs(t *testing.T) {
	w := newWorld(t)
	first, second := w.register("First client", w.siteURL+"/callback"), w.register("Second client", w.siteURL+"/callback")
	a := newBrowser(t)
	a.open(first.authorizeURL())
	a.see("Connect First client?")
	b := a.another()
	b.open(second.authorizeURL())
	b.see("Connect Second client?")
	a.press("Continue to Forgejo login")
	a.see("Sign in")
	b.press("Continue to Forgejo login")
	b.throughForge("alice", second.redirectURI)
	b.see("The client got: code state iss")
	a.throughForge("alice", first.redirectURI)
	a.see("The client got: code state iss")
	first.tokens(a)
	second.tokens(b)

	// Logging out in one tab makes the other's buttons harmless.
	w.openAccount(a, "alice")
	b.open(w.url + "/account")
	b.see("First client", "Second client")
	a.press("Log out")
	a.see("You are logged out here.")
	b.press("Disconnect all")
	b.press("Yes, disconnect all")
	b.see("You are logged out", "Nothing was changed.")
	b.inspect("page-logged-out")
	b.press("Show my applications")
	w.openAccount(b, "alice")
	b.see("First client", "Second client")
}

// A login can be finished only in the browser that began it.
func TestSecondBrowser(t *testing.T) {
	w := newWorld(t)
	c := w.register("Evil client", w.siteURL+"/callback")
	attacker, victim := newBrowser(t), newBrowser(t)
	attacker.open(c.authorizeURL())
	attacker.press("Continue to Forgejo login")
	attacker.see("Sign in")
	victim.open(attacker.asked(w.forge.URL + "/login/oauth/authorize"))
	victim.signIn("alice")
	victim.press("Authorize Application")
	victim.see("This login was started in another browser")
	victim.inspect("page-another-browser")
	if victim.asked(c.redirectURI) != "" {
		t.Error("the client got the other browser's login")
	}
}

// Going back and sending a form again does nothing twice.
func TestBackAndReplay(t *testing.T) {
	w := newWorld(t)
	c := w.register("Example client", w.siteURL+"/callback")
	b := newBrowser(t)
	b.open(c.authorizeURL())
	b.press("Continue to Forgejo login")
	b.throughForge("alice", c.redirectURI)
	b.see("The client got: code state iss")
	callback := b.asked(w.url + "/oauth/callback")
	c.tokens(b)
	b.forget()
	b.open(callback)
	b.see("This login is over")
	if b.asked(c.redirectURI) != "" {
		t.Error("a callback was good twice")
	}

	w.openAccount(b, "alice")
	disconnect := b.fields(w.url + "/account/disconnect")
	b.press("Disconnect Example client")
	b.press("Yes, disconnect it")
	b.see("No application is connected.")
	b.back()
	b.until("a page", func() bool { return strings.Contains(b.text(), "Logged in as alice") })

	// The old form, sent again: nothing is left to disconnect, and that is said.
	b.scripts(true)
	if _, err := b.eval(fmt.Sprintf(`(() => { const f = document.createElement("form"); f.method = "post"; f.action = %q;
		for (const [k, v] of new URLSearchParams(%q)) { const i = document.createElement("input"); i.name = k; i.value = v; f.append(i); }
		document.body.append(f); f.submit(); return ""; })()`, w.url+"/account/disconnect", disconnect.Encode())); err != nil {
		t.Fatal(err)
	}
	b.see("Connected applications", "No application is connected.")

	// What was shown is not there any more for the next person at this browser.
	b.press("Log out")
	b.see("You are logged out here.")
	b.back()
	b.see("Log in to see which applications")
	b.until("the page without a notice", func() bool { return !strings.Contains(b.text(), "You are logged out here.") })
}
