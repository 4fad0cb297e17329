package fakeforge_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

const callback = "http://client.test/callback"

// answer is a response that has been read.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("not JSON (%d): %s", a.status, a.body)
	}
	return v
}

func send(t *testing.T, req *http.Request) answer {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func request(t *testing.T, method, url, body string, header ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

func call(t *testing.T, method, url, body string, header ...string) answer {
	t.Helper()
	return send(t, request(t, method, url, body, header...))
}

func authorizeURL(s *fakeforge.Server, scope, state string, extra url.Values) string {
	q := url.Values{"client_id": {s.App.ClientID}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {scope}, "state": {state}}
	for name := range extra {
		q.Set(name, extra.Get(name))
	}
	return s.URL + "/login/oauth/authorize?" + q.Encode()
}

func authorize(t *testing.T, s *fakeforge.Server, user, scope string, extra url.Values) url.Values {
	t.Helper()
	back, err := loginclient.NewBrowser(nil, user, user+"-password").Authorize(t.Context(), authorizeURL(s, scope, "st", extra))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(back.URL.String(), callback) {
		t.Fatalf("sent to %s", back)
	}
	return back.URL.Query()
}

func tokenRequest(t *testing.T, s *fakeforge.Server, form url.Values) answer {
	t.Helper()
	for name, value := range map[string]string{"client_id": s.App.ClientID, "client_secret": s.App.ClientSecret} {
		if !form.Has(name) {
			form.Set(name, value)
		}
	}
	return call(t, "POST", s.URL+fakeforge.TokenPath, form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

func redeem(t *testing.T, s *fakeforge.Server, code string) map[string]any {
	t.Helper()
	a := tokenRequest(t, s, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}})
	if a.status != http.StatusOK {
		t.Fatalf("the code was refused: %d %s", a.status, a.body)
	}
	return a.json(t)
}

func login(t *testing.T, s *fakeforge.Server, user, scope string) (access, refresh string) {
	t.Helper()
	set := redeem(t, s, authorize(t, s, user, scope, nil).Get("code"))
	return set["access_token"].(string), set["refresh_token"].(string)
}

func claims(t *testing.T, token string) map[string]any {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	return answer{body: string(payload)}.json(t)
}

func TestTokens(t *testing.T) {
	frozen := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	s := fakeforge.Start(t, fakeforge.Config{Now: func() time.Time { return frozen }}, callback)
	access, refresh := login(t, s, "alice", "read:user")
	if n := len(access); n < 750 || n > 950 {
		t.Errorf("the access token has %d characters, want some 850", n)
	}
	if c := claims(t, access); fmt.Sprint(c["tt"], c["cnt"], c["exp"].(float64)-c["iat"].(float64)) != "0 <nil> 3600" {
		t.Errorf("claims of the access token: %v", c)
	}
	if c := claims(t, refresh); fmt.Sprint(c["tt"], c["cnt"]) != "1 2" {
		t.Errorf("claims of the refresh token: %v", c)
	}
	again, refresh2 := login(t, s, "alice", "read:user")
	if again != access {
		t.Error("two access tokens of one grant and second differ")
	}
	if c := claims(t, refresh2); c["cnt"] != float64(3) {
		t.Errorf("the second login did not raise the counter: %v", c)
	}
	a := tokenRequest(t, s, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}})
	if a.status != 400 || a.json(t)["error"] != "unauthorized_client" {
		t.Errorf("the first login's refresh token gives %d %s", a.status, a.body)
	}
}

func TestAuthorizeEdges(t *testing.T) {
	s := fakeforge.Start(t, fakeforge.Config{}, callback)
	for name, bad := range map[string]url.Values{
		"unknown client":       {"client_id": {"nobody"}},
		"unknown redirect URI": {"redirect_uri": {callback + "/other"}},
	} {
		if back, err := loginclient.NewBrowser(nil, "alice", "alice-password").Authorize(t.Context(), authorizeURL(s, "", "st", bad)); err == nil {
			t.Errorf("%s was sent to %s, want no redirect", name, back)
		}
	}
	if got := authorize(t, s, "alice", "read:user", url.Values{"response_type": {"token"}}); got.Get("error") != "unsupported_response_type" || got.Get("state") != "st" {
		t.Errorf("response_type=token gives %v", got)
	}
	if _, err := loginclient.NewBrowser(nil, "alice", "wrong").Authorize(t.Context(), authorizeURL(s, "", "st", nil)); err == nil {
		t.Error("a wrong password was accepted")
	}
	a := call(t, "POST", s.URL+"/user/login", url.Values{"user_name": {"alice"}, "password": {"alice-password"}, "redirect_to": {"//evil.test/"}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	if a.header.Get("Location") != "/" {
		t.Errorf("the login page redirects to %q", a.header.Get("Location"))
	}
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/login/oauth/revoke"} {
		if a := call(t, "GET", s.URL+path, ""); a.status != http.StatusNotFound {
			t.Errorf("%s gives %d, want 404", path, a.status)
		}
	}
}

// With two tabs, the consent of the first is no longer the pending one.
func TestOnePendingAuthorization(t *testing.T) {
	s := fakeforge.Start(t, fakeforge.Config{}, callback)
	a := call(t, "POST", s.URL+"/user/login", url.Values{"user_name": {"alice"}, "password": {"alice-password"}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	cookie, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
	for _, state := range []string{"first", "second"} {
		if a := call(t, "GET", authorizeURL(s, "read:user", state, nil), "", "Cookie", cookie); !strings.Contains(a.body, "Authorize Application") {
			t.Fatalf("no consent page: %d %s", a.status, a.body)
		}
	}
	for state, want := range map[string]int{"first": http.StatusBadRequest, "second": http.StatusSeeOther} {
		form := url.Values{"client_id": {s.App.ClientID}, "redirect_uri": {callback}, "state": {state}, "scope": {"read:user"}, "granted": {"true"}}
		if a := call(t, "POST", s.URL+"/login/oauth/grant", form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Cookie", cookie); a.status != want {
			t.Errorf("consent of the %s tab gives %d, want %d", state, a.status, want)
		}
	}
}

// The scope of a user's first consent stays, whatever is asked for later.
func TestFirstScopeStays(t *testing.T) {
	s := fakeforge.Start(t, fakeforge.Config{}, callback)
	login(t, s, "alice", "read:issue")
	access, _ := login(t, s, "alice", "read:user")
	if a := call(t, "GET", s.URL+"/api/v1/user", "", "Authorization", "Bearer "+access); a.status != 403 {
		t.Errorf("the second login's scope counts: %d", a.status)
	}
}

func TestProfiles(t *testing.T) {
	challenge := url.Values{"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"}}
	for _, p := range fakeforge.Profiles {
		t.Run(p.Name, func(t *testing.T) {
			s := fakeforge.Start(t, fakeforge.Config{Profile: p}, callback)
			if v := call(t, "GET", s.URL+"/api/v1/version", "").json(t)["version"]; v != p.Version {
				t.Errorf("version is %v", v)
			}
			code := authorize(t, s, "alice", "read:user", challenge).Get("code") // through the consent page
			a := tokenRequest(t, s, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {"wrong"}})
			if verified := a.status == 400; verified != p.ConsentPKCE {
				t.Errorf("a wrong verifier gives %d %s", a.status, a.body)
			}
			code = authorize(t, s, "alice", "read:user", nil).Get("code")
			a = tokenRequest(t, s, url.Values{"grant_type": {"authorization_code"}, "code": {code}})
			if strict := a.status == 400; strict != p.SameRedirect {
				t.Errorf("no redirect_uri gives %d %s", a.status, a.body)
			}
			_, refresh := login(t, s, "alice", "read:user")
			for n := range 2 {
				a = tokenRequest(t, s, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}})
				if refused := a.status == 400; refused != (n == 1 && p.RotateRefresh) {
					t.Errorf("use %d of a refresh token gives %d %s", n+1, a.status, a.body)
				}
			}
		})
	}
}

func TestConcurrentRefreshes(t *testing.T) {
	for _, p := range fakeforge.Profiles {
		t.Run(p.Name, func(t *testing.T) {
			s := fakeforge.Start(t, fakeforge.Config{Profile: p}, callback)
			_, refresh := login(t, s, "alice", "read:user")
			const n = 8
			answers := make([]answer, n)
			use := func(token string) answer {
				return tokenRequest(t, s, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
			}
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() { answers[i] = use(refresh) })
			}
			wg.Wait()
			good, alive := 0, 0
			for _, a := range answers {
				if a.status == 200 {
					good++
					if use(a.json(t)["refresh_token"].(string)).status == 200 {
						alive++
					}
				}
			}
			switch {
			case !p.RotateRefresh && (good != n || alive != n):
				t.Errorf("%d succeeded and %d answers were good: without rotation all should be", good, alive)
			case p.CompareAndSwap && (good != 1 || alive != 1):
				t.Errorf("%d succeeded and %d answers were good, want 1", good, alive)
			case good < 1 || alive < 1:
				t.Errorf("%d succeeded, %d answers were good", good, alive)
			}
		})
	}
}
