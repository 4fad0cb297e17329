package integration

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/glebarez/go-sqlite" // to look at the database from outside

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

// verifier is every test client's PKCE verifier.
var verifier = strings.Repeat("v", 43)

func challenge() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// fetch makes one request and reads the answer. It is safe in goroutines.
func (w *world) fetch(ctx context.Context, method, target string, body io.Reader, header ...string) (response, error) {
	r, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return response{}, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := (&http.Client{Transport: w.transport}).Do(r)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return response{resp.StatusCode, resp.Header, string(b)}, err
}

func (r response) field(name string) string {
	var v map[string]any
	_ = json.Unmarshal([]byte(r.body), &v)
	s, _ := v[name].(string)
	return s
}

// register returns a new public client.
func (w *world) register(ctx context.Context) (id string, err error) {
	r, err := w.fetch(ctx, "POST", w.url+"/oauth/register",
		strings.NewReader(`{"client_name":"raw","redirect_uris":["`+loginclient.RedirectURI+`","http://127.0.0.1/`+fmt.Sprint(rand.Uint64())+`"],"token_endpoint_auth_method":"none"}`), "Content-Type", "application/json")
	if err == nil && r.status != 201 {
		err = fmt.Errorf("registration: %d %s", r.status, r.body)
	}
	return r.field("client_id"), err
}

func (w *world) authorizeURL(client string) string {
	return w.url + "/oauth/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {client}, "redirect_uri": {loginclient.RedirectURI}, "state": {"s"},
		"code_challenge": {challenge()}, "code_challenge_method": {"S256"},
	}.Encode()
}

// code logs user in for client.
func (w *world) code(ctx context.Context, client, user string) (string, error) {
	r, err := loginclient.NewBrowser(w.transport, user, user+"-password").Authorize(ctx, w.authorizeURL(client))
	if err == nil && r.Code == "" {
		err = fmt.Errorf("authorization: %s: %s", r.Error, r.ErrorDescription)
	}
	return r.Code, err
}

func codeForm(client, code string) url.Values {
	return url.Values{"grant_type": {"authorization_code"}, "code": {code}, "client_id": {client}, "redirect_uri": {loginclient.RedirectURI}, "code_verifier": {verifier}}
}

func refreshForm(client, token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {client}}
}

// redeem asks the token endpoint of the broker process at base.
func (w *world) redeem(ctx context.Context, base string, form url.Values) (response, error) {
	return w.fetch(ctx, "POST", base+"/oauth/token", strings.NewReader(form.Encode()), "Content-Type", "application/x-www-form-urlencoded")
}

// login returns a client with its first tokens.
func (w *world) login(user string) (client string, tokens response) {
	w.t.Helper()
	client, err := w.register(w.t.Context())
	w.must(err)
	code, err := w.code(w.t.Context(), client, user)
	w.must(err)
	tokens, err = w.redeem(w.t.Context(), w.broker.URL, codeForm(client, code))
	w.must(err)
	if tokens.status != 200 {
		w.t.Fatalf("token: %d %s", tokens.status, tokens.body)
	}
	return client, tokens
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// query reads one value of the broker's database, from outside.
func (w *world) query(query string, args ...any) (value string) {
	w.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(w.dir, "state", "fjmcp.db")+"?_pragma=busy_timeout(10000)")
	w.must(err)
	defer db.Close()
	w.must(db.QueryRow(query, args...).Scan(&value))
	return value
}

// second starts another broker process on the same database.
func (w *world) second() string {
	w.t.Helper()
	b, err := w.broker.Second(w.t.Context(), w.program())
	w.must(err)
	w.t.Cleanup(func() { b.Stop(syscall.SIGTERM) })
	return b.URL
}

// crowd sends the same request n times at once, by turns to each base, and
// counts the answers by status. Those with 200 give their refresh tokens.
func (w *world) crowd(n int, form url.Values, bases ...string) (statuses map[int]int, tokens map[string]bool) {
	w.t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	statuses, tokens = map[int]int{}, map[string]bool{}
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			r, err := w.redeem(w.t.Context(), bases[i%len(bases)], form)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				w.t.Errorf("request %d: %v", i, err)
				return
			}
			statuses[r.status]++
			if r.status == 200 {
				tokens[r.field("refresh_token")] = true
			}
		})
	}
	close(start)
	wg.Wait()
	return statuses, tokens
}

func TestTwoProcessesMakeOneFamily(t *testing.T) {
	const n = 200
	w := start(t, "standin")
	bases := []string{w.broker.URL, w.second()}

	client, first := w.login("alice")
	statuses, tokens := w.crowd(n, refreshForm(client, first.field("refresh_token")), bases...)
	if statuses[200] != n || len(tokens) != 1 {
		t.Errorf("one refresh token, %d times: %v, %d successors", n, statuses, len(tokens))
	}
	if got := w.query("SELECT COUNT(*) FROM refresh_tokens WHERE grant_id IN (SELECT id FROM grants WHERE client_id = ?)", client); got != "2" {
		t.Errorf("%s refresh tokens in the family, want the first and its successor", got)
	}

	client, err := w.register(t.Context())
	w.must(err)
	code, err := w.code(t.Context(), client, "alice")
	w.must(err)
	statuses, tokens = w.crowd(n, codeForm(client, code), bases...)
	if statuses[200] != 1 || len(tokens) != 1 || statuses[400]+statuses[429] != n-1 {
		t.Errorf("one code, %d times: %v", n, statuses)
	}
	if got := w.query("SELECT COUNT(*) FROM refresh_tokens WHERE grant_id IN (SELECT id FROM grants WHERE client_id = ?)", client); got != "1" {
		t.Errorf("%s refresh tokens for one code", got)
	}
	if got := w.query("PRAGMA integrity_check"); got != "ok" {
		t.Errorf("integrity_check: %s", got)
	}
}

// A revocation in one process is seen in the other within a second.
func TestRevocationCrossesProcesses(t *testing.T) {
	w := start(t, "standin")
	second := w.second()
	client, tokens := w.login("alice")
	bearer := func(base string) int {
		r, err := w.fetch(t.Context(), "GET", base+"/mcp", nil, "Authorization", "Bearer "+tokens.field("access_token"))
		w.must(err)
		return r.status
	}
	for _, base := range []string{w.broker.URL, second, second} {
		if got := bearer(base); got == 401 {
			t.Fatalf("a good token gets %d", got)
		}
	}
	r, err := w.fetch(t.Context(), "POST", w.broker.URL+"/oauth/revoke", strings.NewReader(url.Values{"client_id": {client}, "token": {tokens.field("refresh_token")}}.Encode()), "Content-Type", "application/x-www-form-urlencoded")
	if err != nil || r.status != 200 {
		t.Fatalf("revocation: %d %v", r.status, err)
	}
	revoked := time.Now()
	if got := bearer(w.broker.URL); got != 401 {
		t.Errorf("the process that revoked it still answers %d", got)
	}
	for bearer(second) != 401 {
		if time.Since(revoked) > 30*time.Second {
			t.Fatal("the other process never sees it")
		}
	}
	t.Logf("seen by the other process after %v", time.Since(revoked).Round(time.Millisecond))
}

// retryPause leaves the processor to the broker that starts.
const retryPause = 20 * time.Millisecond

// family is what a client that was answered holds.
type family struct{ client, refresh string }

// TestKilledBrokerLosesNothing kills the broker at random moments while clients
// register, log in and refresh. What a client was answered must stand.
func TestKilledBrokerLosesNothing(t *testing.T) {
	w := start(t, "standin")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var mu sync.Mutex
	var families []family
	registered := map[string]bool{}
	var wg sync.WaitGroup
	for _, user := range []string{"alice", "bob"} {
		client, tokens := w.login(user)
		wg.Go(func() {
			f := w.refreshOn(ctx, family{client, tokens.field("refresh_token")})
			mu.Lock()
			defer mu.Unlock()
			families = append(families, f)
		})
		wg.Go(func() {
			for ctx.Err() == nil {
				client, err := w.register(ctx)
				if err != nil {
					time.Sleep(retryPause)
					continue
				}
				code, err := w.code(ctx, client, user)
				var r response
				if err == nil {
					r, err = w.redeem(ctx, w.broker.URL, codeForm(client, code))
				}
				mu.Lock()
				registered[client] = true
				if err == nil && r.status == 200 {
					families = append(families, family{client, r.field("refresh_token")})
				}
				mu.Unlock()
			}
		})
	}
	for range 12 {
		time.Sleep(rand.N(300 * time.Millisecond)) // the moment is what is tried, nothing waits for it
		w.broker.Stop(syscall.SIGKILL)
		w.must(w.broker.Restart(t.Context(), w.program()))
	}
	stop()
	wg.Wait()
	t.Logf("%d registrations and %d families to find again", len(registered), len(families))
	for client := range registered {
		if r, err := w.fetch(t.Context(), "GET", w.authorizeURL(client), nil); err != nil || r.status != 200 {
			t.Errorf("a registration is lost: %d, %v", r.status, err)
		}
	}
	for _, f := range families {
		if r, err := w.redeem(t.Context(), w.broker.URL, refreshForm(f.client, f.refresh)); err != nil || r.status != 200 {
			t.Errorf("a refresh token is lost: %d %s, %v", r.status, r.body, err)
		}
	}
	if got := w.query("PRAGMA integrity_check"); got != "ok" {
		t.Errorf("integrity_check: %s", got)
	}
}

// refreshOn refreshes again and again, with the same token until it is answered,
// and returns the last.
func (w *world) refreshOn(ctx context.Context, f family) family {
	for ctx.Err() == nil {
		r, err := w.redeem(ctx, w.broker.URL, refreshForm(f.client, f.refresh))
		switch {
		case err != nil: // the broker is dead
			time.Sleep(retryPause)
		case r.status == 200:
			f.refresh = r.field("refresh_token")
		default:
			w.t.Errorf("a refresh got %d %s", r.status, r.body)
			return f
		}
	}
	return f
}

// While the forge is away, with every access token of it run out, clients
// refresh, and their calls say what is the matter; afterwards all goes on.
func TestForgeAwayNeedsNoLogin(t *testing.T) {
	w := start(t, "standin")
	client, tokens := w.login("alice")
	token := tokens.field("access_token")
	if r := w.post(token, "", initialize); r.status != 200 {
		t.Fatalf("initialize: %d %s", r.status, r.body)
	}
	logins := w.forge.Stats().Exchanges
	w.forge.ExpireAccessTokens()
	w.forge.Stop()
	for range 3 {
		r, err := w.redeem(t.Context(), w.broker.URL, refreshForm(client, tokens.field("refresh_token")))
		if err != nil || r.status != 200 {
			t.Fatalf("refresh: %d %s, %v", r.status, r.body, err)
		}
		tokens, token = r, r.field("access_token")
		if r := w.post(token, "", initialize); r.status != 200 || !strings.Contains(r.body, "Forgejo cannot be reached") {
			t.Errorf("initialize: %d %s", r.status, r.body)
		}
	}
	w.must(w.forge.Resume())
	if r := w.post(token, "", initialize); r.status != 200 || !strings.Contains(r.body, `"result"`) {
		t.Errorf("initialize: %d %s", r.status, r.body)
	}
	if got := w.forge.Stats().Exchanges; got != logins {
		t.Errorf("%d logins were needed", got-logins)
	}
}
