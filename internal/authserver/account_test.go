package authserver_test

import (
	"errors"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

// atAccount logs a browser in to the account page as alice and returns the page.
func (w *world) atAccount(b *http.Client) answer {
	w.t.Helper()
	page := w.do(b, w.request(http.MethodGet, w.url+"/account", ""))
	to := w.send(b, page, "/account/login", 0).location(w.t)
	back, err := loginclient.NewBrowser(nil, "alice", "alice-password").Authorize(w.t.Context(), to.String())
	w.must(err)
	at := w.do(b, w.request(http.MethodGet, back.URL.String(), "")).location(w.t)
	if at.String() != w.url+"/account" {
		w.t.Fatalf("sent to %s", at)
	}
	return w.do(b, w.request(http.MethodGet, at.String(), ""))
}

var formPattern = regexp.MustCompile(`(?s)<form method="post" action="([^"]*)">(.*?)</form>`)

// send presses the button of the page's nth form that goes to path.
func (w *world) send(b *http.Client, page answer, path string, n int) answer {
	w.t.Helper()
	for _, form := range formPattern.FindAllStringSubmatch(page.body, -1) {
		if form[1] != w.url+path {
			continue
		}
		if n--; n >= 0 {
			continue
		}
		values := url.Values{}
		for _, field := range hidden.FindAllStringSubmatch(form[2], -1) {
			values.Set(field[1], html.UnescapeString(field[2]))
		}
		return w.do(b, w.request(http.MethodPost, form[1], values.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
	}
	w.t.Fatalf("no form to %s (%d) on\n%s", path, n, page.body)
	return answer{}
}

// connected makes a client with tokens of alice's.
func (w *world) connected() (client, string) {
	c := w.newClient()
	access, _ := w.tokens(c, w.logIn(c))
	return c, access
}

func TestAccountUnderPrefix(t *testing.T) {
	w := newWorldAt(t, "/p")
	_, access := w.connected()
	page := w.atAccount(newBrowser())
	if page.StatusCode != http.StatusOK || !strings.Contains(page.body, "Test &lt;Client&gt;") || !strings.Contains(page.body, "127.0.0.1:9999") {
		t.Fatalf("%d %s", page.StatusCode, page.body)
	}
	w.must(w.bearer(access)) // the login to the page leaves the client's alone
}

func TestAccountDisconnects(t *testing.T) {
	w := newWorld(t)
	_, first := w.connected()
	w.advance(time.Minute)
	_, second := w.connected()
	b := newBrowser()
	page := w.send(b, w.atAccount(b), "/account/disconnect", 0) // the one used last
	if page.StatusCode != http.StatusSeeOther {
		t.Fatalf("%d %s", page.StatusCode, page.body)
	}
	if err := w.bearer(second); !errors.Is(err, model.ErrRevoked) {
		t.Errorf("the disconnected client: %v", err)
	}
	w.must(w.bearer(first))
	if n := w.ended.Load(); n != 1 {
		t.Errorf("%d grants were reported to have ended", n)
	}
	page = w.do(b, w.request(http.MethodGet, w.url+"/account", ""))
	w.send(b, page, "/account/disconnect", 1) // all
	if err := w.bearer(first); !errors.Is(err, model.ErrRevoked) {
		t.Errorf("the last client: %v", err)
	}
	user, err := w.store.UpsertUser(t.Context(), w.forge.URL, "1", "alice")
	w.must(err)
	if _, err := w.store.ForgejoTokens(t.Context(), user.ID); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("the token set after the last was disconnected: %v", err)
	}
	if n := strings.Count(w.trail.String(), "FJMCP_EVENT=client_disconnected FJMCP_USER=alice"); n != 2 {
		t.Errorf("%d disconnections in the audit", n)
	}
}

// Without a client the login to the page leaves no token set behind.
func TestAccountKeepsNoUnusedTokens(t *testing.T) {
	w := newWorld(t)
	if page := w.atAccount(newBrowser()); !strings.Contains(page.body, "No application is connected.") {
		t.Fatalf("%d %s", page.StatusCode, page.body)
	}
	uses, err := w.store.WithholdForgejoTokens(t.Context(), func(string) bool { return true })
	if err != nil || len(uses) != 0 {
		t.Errorf("stored sets: %+v, %v", uses, err)
	}
}

func TestAccountSessionEnds(t *testing.T) {
	w := newWorld(t)
	for name, end := range map[string]func(*http.Client, answer){
		"unused for an hour": func(*http.Client, answer) { w.advance(time.Hour) },
		"after 12 hours": func(b *http.Client, _ answer) {
			for range 24 {
				w.advance(30 * time.Minute)
				w.do(b, w.request(http.MethodGet, w.url+"/account", ""))
			}
		},
		"logged out": func(b *http.Client, page answer) { w.send(b, page, "/account/logout", 0) },
	} {
		b := newBrowser()
		page := w.atAccount(b)
		if !strings.Contains(page.body, "Logged in as") {
			t.Fatalf("%s: %s", name, page.body)
		}
		end(b, page)
		if page = w.do(b, w.request(http.MethodGet, w.url+"/account", "")); !strings.Contains(page.body, "Log in with Forgejo") {
			t.Errorf("%s: %s", name, page.body)
		}
	}
}

// A form is good for its own login, purpose and client only.
func TestAccountFormsAreBound(t *testing.T) {
	w := newWorld(t)
	c, access := w.connected()
	b, other := newBrowser(), newBrowser()
	page := w.atAccount(b)
	w.atAccount(other)
	fields := url.Values{}
	form := formPattern.FindStringSubmatch(page.body) // logs out
	for _, field := range hidden.FindAllStringSubmatch(form[2], -1) {
		fields.Set(field[1], field[2])
	}
	post := func(b *http.Client, path string, v url.Values) answer {
		return w.do(b, w.request(http.MethodPost, w.url+path, v.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
	}
	for name, got := range map[string]answer{
		"another purpose":  post(b, "/account/disconnect", fields),
		"another client":   post(b, "/account/disconnect", url.Values{"client": {c.id}, "form_token": fields["form_token"]}),
		"another login":    post(other, "/account/logout", fields),
		"no login":         post(newBrowser(), "/account/logout", fields),
		"no token":         post(b, "/account/disconnect", url.Values{"client": {c.id}}),
		"login, no cookie": post(newBrowser(), "/account/login", url.Values{"form_token": {"x"}}),
	} {
		if got.StatusCode != http.StatusForbidden || len(got.Header["Set-Cookie"]) > 0 {
			t.Errorf("%s: %d, cookies %q", name, got.StatusCode, got.Header["Set-Cookie"])
		}
	}
	w.must(w.bearer(access))
}

// Who has granted too much at Forgejo can still take access back.
func TestAccountWithBroaderGrant(t *testing.T) {
	w := newWorld(t)
	w.forgeGrant("all")
	if page := w.atAccount(newBrowser()); !strings.Contains(page.body, "Logged in as") {
		t.Errorf("%d %s", page.StatusCode, page.body)
	}
}

func TestAccountDeniedAtForgejo(t *testing.T) {
	w := newWorld(t)
	b := newBrowser()
	to := w.send(b, w.do(b, w.request(http.MethodGet, w.url+"/account", "")), "/account/login", 0).location(t)
	deny := loginclient.NewBrowser(nil, "alice", "alice-password")
	deny.Deny = true
	back, err := deny.Authorize(w.t.Context(), to.String())
	w.must(err)
	if at := w.do(b, w.request(http.MethodGet, back.URL.String(), "")).location(t); at.String() != w.url+"/account" {
		t.Errorf("sent to %s", at)
	}
}
