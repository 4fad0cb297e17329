package proxy

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

// TestWholeWay goes the way of docs/acceptance.md, from registration to revocation,
// request by request.
func TestWholeWay(t *testing.T) {
	behind(t, func(t *testing.T, run func(*world, ...edit) *proxy) {
		w := start(t, "standin", "FJMCP_BROKER_SESSION_IDLE_TIMEOUT=1s")
		u := &wholeWay{world: w, client: w.http(run(w), "127.0.0.1")}
		u.register()
		u.logIn()
		u.initialize()
		if list := u.say("tools/list", `{}`); !contains(list, `"name":"get_my_user_info"`) {
			t.Errorf("tools/list: %s", list)
		}
		u.call()
		u.call() // in the same session
		w.until("the idle session is reaped", func() bool { return contains(w.log.String(), "FJMCP_EVENT=session_reaped") })
		u.call() // wakes it
		before := u.tokens.Access
		u.refresh()
		if u.tokens.Access == before {
			t.Error("the refresh gave the same token")
		}
		u.call() // with the new token, in the same session
		u.revoke()
		for _, want := range []string{"client_registered", "login ", "token_issued", "session_started", "tool_call", "session_reaped", "token_refreshed", "token_revoked", "session_stopped"} {
			w.until("the journal has "+want, func() bool { return contains(w.log.String(), "FJMCP_EVENT="+want) })
		}
		if n := strings.Count(w.log.String(), "FJMCP_EVENT=session_stopped"); n != 1 {
			t.Errorf("%d sessions were stopped, want one for all", n)
		}
	})
}

// wholeWay is a client that asks for everything itself.
type wholeWay struct {
	*world
	client  *http.Client
	id      string // client ID
	session string
	tokens  struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
}

func (u *wholeWay) register() {
	u.t.Helper()
	var registered struct {
		ID string `json:"client_id"`
	}
	u.answer(http.StatusCreated, &registered, "/oauth/register",
		`{"client_name":"raw","redirect_uris":["`+loginclient.RedirectURI+`"],"token_endpoint_auth_method":"none"}`, "Content-Type", "application/json")
	u.id = registered.ID
}

// answer posts and reads JSON; to may be nil.
func (u *wholeWay) answer(want int, to any, path, body string, header ...string) {
	u.t.Helper()
	status, _, text := u.send(u.client, http.MethodPost, u.url+path, body, header...)
	if status != want {
		u.t.Fatalf("%s gave %d %s, want %d", path, status, text, want)
	}
	if to != nil {
		if err := json.Unmarshal([]byte(text), to); err != nil {
			u.t.Fatalf("%s gave %s: %v", path, text, err)
		}
	}
}

func (u *wholeWay) form(to any, path string, values url.Values) {
	u.t.Helper()
	values.Set("client_id", u.id)
	u.answer(http.StatusOK, to, path, values.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

// logIn authorizes, consents, logs in at the forge, comes back and redeems the code.
func (u *wholeWay) logIn() {
	u.t.Helper()
	verifier := strings.Repeat("verifier-", 6)
	challenge := sha256.Sum256([]byte(verifier))
	back, err := loginclient.NewBrowser(u.client.Transport, "alice", "alice-password").Authorize(u.t.Context(), u.url+"/oauth/authorize?"+url.Values{
		"response_type": {"code"}, "client_id": {u.id}, "redirect_uri": {loginclient.RedirectURI}, "state": {"s"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}.Encode())
	if err != nil || back.Iss != u.url || back.State != "s" {
		u.t.Fatalf("the login came back as %+v, %v", back, err)
	}
	u.form(&u.tokens, "/oauth/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Code}, "redirect_uri": {loginclient.RedirectURI}, "code_verifier": {verifier},
	})
}

func (u *wholeWay) refresh() {
	u.t.Helper()
	u.form(&u.tokens, "/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {u.tokens.Refresh}})
}

// revoke gives the refresh token back, which ends login and session.
func (u *wholeWay) revoke() {
	u.t.Helper()
	u.form(nil, "/oauth/revoke", url.Values{"token": {u.tokens.Refresh}})
	if status, _, body := u.post("ping", `{}`); status != http.StatusUnauthorized {
		u.t.Errorf("after the revocation: %d %s", status, body)
	}
}

func (u *wholeWay) initialize() {
	u.t.Helper()
	status, h, body := u.post("initialize", `{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}`)
	if u.session = h.Get("Mcp-Session-Id"); status != http.StatusOK || u.session == "" {
		u.t.Fatalf("initialize: %d %s", status, body)
	}
}

func (u *wholeWay) call() {
	u.t.Helper()
	if body := u.say("tools/call", `{"name":"get_my_user_info","arguments":{}}`); !contains(body, `\"login\":\"alice\"`) {
		u.t.Errorf("the call gave %s", body)
	}
}

// say sends a request in the session and returns the answer.
func (u *wholeWay) say(method, params string) string {
	u.t.Helper()
	status, _, body := u.post(method, params)
	if status != http.StatusOK {
		u.t.Fatalf("%s: %d %s", method, status, body)
	}
	return body
}

func (u *wholeWay) post(method, params string) (int, http.Header, string) {
	u.t.Helper()
	header := []string{"Authorization", "Bearer " + u.tokens.Access, "Content-Type", "application/json", "Accept", "application/json, text/event-stream"}
	if u.session != "" {
		header = append(header, "Mcp-Session-Id", u.session)
	}
	return u.send(u.client, http.MethodPost, u.url+"/mcp", `{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":`+params+`}`, header...)
}
