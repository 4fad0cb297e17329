package loginclient_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

const callback = "https://mcp.example.org/oauth/callback"

func newForge(t *testing.T) string {
	t.Helper()
	forge, err := fakeforge.New(fakeforge.Config{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = forge.Register(fakeforge.App{Name: "app", ClientID: "app", ClientSecret: "secret", RedirectURIs: []string{callback}})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(forge)
	t.Cleanup(srv.Close)
	return srv.URL
}

func authorizeURL(forge string) string {
	return forge + "/login/oauth/authorize?" + url.Values{
		"client_id": {"app"}, "redirect_uri": {callback}, "response_type": {"code"},
		"state": {"s1"}, "scope": {"read:user"},
	}.Encode()
}

func TestBrowserAtForge(t *testing.T) {
	forge := newForge(t)
	b := loginclient.NewBrowser(nil, "alice", "alice-password")
	var steps []string
	b.Steps = func(s string) { steps = append(steps, s) }

	b.Deny = true
	r, err := b.Authorize(t.Context(), authorizeURL(forge))
	if err != nil || r.Error != "access_denied" || r.Code != "" {
		t.Errorf("denied: got %+v, %v", r, err)
	}
	b.Deny = false
	r, err = b.Authorize(t.Context(), authorizeURL(forge))
	if err != nil || r.Code == "" || r.State != "s1" || !strings.HasPrefix(r.URL.String(), callback) {
		t.Errorf("allowed: got %+v, %v", r, err)
	}
	all := strings.Join(steps, "\n")
	for _, want := range []string{`on "Sign in" press "Sign in"`, `on "Authorize app" press "Cancel"`, `press "Authorize Application"`} {
		if !strings.Contains(all, want) {
			t.Errorf("no step %q in\n%s", want, all)
		}
	}
	if n := strings.Count(all, `press "Sign in"`); n != 1 {
		t.Errorf("signed in %d times", n)
	}
}

func TestBrowserWrongPassword(t *testing.T) {
	b := loginclient.NewBrowser(nil, "alice", "wrong")
	_, err := b.Authorize(t.Context(), authorizeURL(newForge(t)))
	if err == nil || !strings.Contains(err.Error(), "incorrect") {
		t.Errorf("got %v", err)
	}
}

// A form's policy binds the redirects that follow it.
func TestBrowserFormAction(t *testing.T) {
	elsewhere := httptest.NewServer(http.RedirectHandler(callback+"?code=c", http.StatusSeeOther))
	defer elsewhere.Close()
	for _, tc := range []struct {
		policy string
		ok     bool
	}{
		{"", true},
		{"default-src 'none'; form-action 'self' " + elsewhere.URL, true},
		{"form-action 'self'", false},
		{"form-action 'none'", false},
	} {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Security-Policy", tc.policy)
			fmt.Fprint(w, `<title>T</title><form method=post action=/go><button name=d value=no>Deny</button><button name=d value=yes>Go on</button></form>`)
		})
		mux.HandleFunc("POST /go", func(w http.ResponseWriter, r *http.Request) {
			if r.PostFormValue("d") != "yes" || r.Header.Get("Origin") != "http://"+r.Host || r.Header.Get("Sec-Fetch-Site") != "same-origin" {
				t.Errorf("got form %v with headers %v", r.PostForm, r.Header)
			}
			http.Redirect(w, r, elsewhere.URL, http.StatusSeeOther)
		})
		srv := httptest.NewServer(mux)
		_, err := loginclient.NewBrowser(nil, "", "").Authorize(t.Context(), srv.URL+"/?redirect_uri="+url.QueryEscape(callback))
		if (err == nil) != tc.ok {
			t.Errorf("policy %q: got %v", tc.policy, err)
		}
		srv.Close()
	}
}
