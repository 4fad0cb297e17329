package e2e

import (
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// Every way in which a session ends for good ends all of it at once, also while it
// works: the unit with its whole cgroup, its timer, its credential, its descriptors.
func TestE2EEnds(t *testing.T) {
	s := enabled(t, standin(t), nil)
	for _, way := range []struct {
		name   string
		end    func(*testing.T, *System, tokens, *raw)
		status int // of a later request with the same token
	}{
		{"deleted by its client", func(t *testing.T, _ *System, _ tokens, c *raw) { must(t, c.end(t.Context())) }, http.StatusNotFound},
		{"refresh token given back", func(t *testing.T, s *System, l tokens, _ *raw) {
			must(t, answer(s.post(t.Context(), "/oauth/revoke", formType, url.Values{"client_id": {l.client}, "token": {l.Refresh}}.Encode()), nil))
		}, http.StatusUnauthorized},
		{"disconnected by its user", disconnect, http.StatusUnauthorized},
		{"client removed by the operator", func(t *testing.T, s *System, l tokens, _ *raw) {
			run(t, s, "fjmcpctl", "clients", "remove", l.client)
		}, http.StatusUnauthorized},
		{"stopped by the operator", func(t *testing.T, s *System, _ tokens, _ *raw) {
			run(t, s, "fjmcpctl", "sessions", "stop", "--user", "alice", "--yes")
		}, http.StatusNotFound},
		{"login revoked by the operator", func(t *testing.T, s *System, _ tokens, _ *raw) {
			run(t, s, "fjmcpctl", "users", "revoke", "alice", "--yes")
		}, http.StatusUnauthorized},
		{"user blocked by the operator", func(t *testing.T, s *System, _ tokens, _ *raw) {
			run(t, s, "fjmcpctl", "users", "block", "alice", "--yes")
			t.Cleanup(func() {
				_, err := s.C.Run(context.Background(), "fjmcpctl", "users", "unblock", "alice")
				must(t, err)
			})
		}, http.StatusUnauthorized},
		{"user suspended at Forgejo", func(t *testing.T, s *System, _ tokens, c *raw) {
			must(t, s.Forge.Suspend("alice", true))
			t.Cleanup(func() { must(t, s.Forge.Suspend("alice", false)) })
			_, err := c.tool(t.Context(), 3, "get_my_user_info", nil) // by which it is seen
			if err == nil {
				t.Error("a suspended user's call works")
			}
		}, http.StatusUnauthorized},
		{"too old", func(t *testing.T, s *System, _ tokens, _ *raw) {}, http.StatusNotFound},
	} {
		t.Run(way.name, func(t *testing.T) {
			if way.name == "too old" {
				must(t, s.Configure(map[string]string{"FJMCP_BROKER_SESSION_MAX_AGE": "8s"}))
				restart(t, s)
			}
			l := logIn(t, s, "alice")
			c, err := rawClient(t.Context(), s, l.Access)
			must(t, err)
			if _, err := c.tool(t.Context(), 1, "get_my_user_info", nil); err != nil {
				t.Fatal(err)
			}
			lost := make(chan error, 1)
			go func() {
				_, err := c.tool(t.Context(), 2, "slow", map[string]any{"ms": 600_000})
				lost <- err
			}()
			await(t, "the call is in flight", func() bool {
				return strings.Contains(run(t, s, "fjmcpctl", "sessions", "list", "--json"), `"in_flight":1`)
			})
			if out, err := s.C.Shell(t.Context(), leftovers); err != nil || len(missing(out)) > 0 {
				t.Errorf("of a session at work are not seen %q, %v", missing(out), err)
			}
			way.end(t, s, l, c)
			nothingLeft(t, s)
			if err := <-lost; err == nil {
				t.Error("its call was answered")
			}
			if status := post(t, s, l.Access, c.session); status != way.status {
				t.Errorf("a later request gets %d, want %d", status, way.status)
			}
			if out := run(t, s, "fjmcpctl", "sessions", "list", "--json"); strings.TrimSpace(out) != "[]" {
				t.Errorf("sessions are left: %s", out)
			}
		})
	}
}

var (
	forms  = regexp.MustCompile(`(?s)<form method="post" action="([^"]*)">(.*?)</form>`)
	hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
)

// disconnect logs alice in to the account page and presses the button.
func disconnect(t *testing.T, s *System, _ tokens, _ *raw) {
	jar, err := cookiejar.New(nil)
	must(t, err)
	b := s.HTTP()
	b.Jar = jar
	to := press(t, b, show(t, b, PublicURL+"/account"), "/account/login")
	back, err := s.Browser("alice", nil).Authorize(t.Context(), to)
	must(t, err)
	resp, err := b.Get(back.URL.String())
	must(t, err)
	resp.Body.Close()
	press(t, b, show(t, b, PublicURL+"/account"), "/account/disconnect")
}

// show returns a page.
func show(t *testing.T, b *http.Client, page string) string {
	t.Helper()
	resp, err := b.Get(page)
	must(t, err)
	text, err := body(resp)
	must(t, err)
	return text
}

// press sends the page's first form that goes to path, and returns where that leads.
func press(t *testing.T, b *http.Client, page, path string) string {
	t.Helper()
	for _, form := range forms.FindAllStringSubmatch(page, -1) {
		if form[1] != PublicURL+path {
			continue
		}
		values := url.Values{}
		for _, field := range hidden.FindAllStringSubmatch(form[2], -1) {
			values.Set(field[1], html.UnescapeString(field[2]))
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, form[1], strings.NewReader(values.Encode()))
		must(t, err)
		r.Header.Set("Content-Type", formType)
		r.Header.Set("Origin", PublicURL)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		resp, err := b.Do(r)
		must(t, err)
		text, err := body(resp)
		must(t, err)
		if resp.StatusCode != http.StatusSeeOther {
			t.Fatalf("%s: %s %s", path, resp.Status, text)
		}
		return resp.Header.Get("Location")
	}
	t.Fatalf("no form to %s on\n%s", path, page)
	return ""
}

// body reads a page that may be a redirect.
func body(resp *http.Response) (string, error) {
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 400 {
		err = fmt.Errorf("%s\n%s", resp.Status, b)
	}
	return string(b), err
}
