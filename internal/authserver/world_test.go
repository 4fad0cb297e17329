package authserver_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/authserver"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/clientmeta"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/site"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/rights"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/tokens"
	"github.com/fjmcp/fjmcp-broker/internal/operator"
	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
	"github.com/fjmcp/fjmcp-broker/internal/proto/endpoint"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeweb"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
	"github.com/fjmcp/fjmcp-broker/internal/test/testlog"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

// world is a broker's authorization server over real HTTP in front of a fake
// forge.
type world struct {
	t         testing.TB
	web       *fakeweb.Web        // where clients publish, see newDocumentWorld
	documents *clientmeta.Fetcher // of servers made from now on
	url       string              // of the broker
	forge     *fakeforge.Server
	path      string // of its database
	clients   int    // that newClient has made
	choose    string // what users choose, the page's default if empty
	store     *store.Store
	server    *authserver.Server
	trail     *testlog.Buffer              // the audit trail
	start     time.Time                    // the broker's clock stands still
	offset    atomic.Int64                 // but for advance
	ended     atomic.Int64                 // grants reported to Revoked
	redeemed  atomic.Int64                 // logins reported to Redeemed
	latest    atomic.Pointer[model.Access] // of them
	scopes    []string                     // asked of the forge by servers made from now on
	schemes   oauth.Schemes                // that those allow
	devices   bool                         // they serve the device authorization grant
	upstream  *tokens.Tokens
	policy    string // that servers made from now on have; none if empty
	mux       atomic.Pointer[http.ServeMux]
}

func (w *world) now() time.Time { return w.start.Add(time.Duration(w.offset.Load())) }

func (w *world) advance(d time.Duration) { w.offset.Add(int64(d)) }

func newWorld(t testing.TB) *world { return newWorldAt(t, "") }

func newWorldAt(t testing.TB, prefix string) *world {
	return newWorldOn(t, prefix, fakeforge.Config{})
}

func newWorldOn(t testing.TB, prefix string, forge fakeforge.Config) *world {
	w := &world{t: t, trail: &testlog.Buffer{}, start: time.Now().Truncate(time.Second)}
	ts := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.mux.Load().ServeHTTP(rw, r) }))
	t.Cleanup(ts.Close)
	w.url = ts.URL + prefix
	public, err := url.Parse(w.url)
	w.must(err)
	w.forge = fakeforge.Start(t, forge, authserver.CallbackURL(public))
	w.path = teststore.Path(t)
	w.store = teststore.Open(t, w.path, w.now)
	w.restart()
	return w
}

// newWorldKeyed is a world with a store key of its own.
func newWorldKeyed(t testing.TB, key string) *world {
	w := newWorld(t)
	w.path = teststore.Path(t) // the old one is of another key
	w.useKeys(key)
	return w
}

// useKeys starts the server anew with those store keys, the current one first.
func (w *world) useKeys(names ...string) {
	w.t.Helper()
	var keys [][]byte
	for _, name := range names {
		keys = append(keys, model.Hash(name))
	}
	ring, err := seal.NewKeyring(keys[0], keys[1:]...)
	w.must(err)
	opened, err := store.Open(w.t.Context(), store.Options{Path: w.path, Keys: ring, Now: w.now})
	w.must(err)
	w.t.Cleanup(func() { opened.Close() })
	w.store = opened
	w.restart()
}

// restart puts a new server in the place of the old one, with w.scopes.
func (w *world) restart() {
	w.t.Helper()
	public, err := url.Parse(w.url)
	w.must(err)
	w.server = w.newServer(public, w.store)
	mux := http.NewServeMux()
	w.server.Routes(mux)
	w.mux.Store(mux)
}

func (w *world) newServer(public *url.URL, st *store.Store) *authserver.Server {
	w.t.Helper()
	log, events := slog.New(slog.NewTextHandler(w.trail, nil)), audit.New(w.trail)
	forge, err := forgejo.New(forgejo.Config{
		URL: w.forge.URL, ClientID: w.forge.App.ClientID, ClientSecret: w.forge.App.ClientSecret,
		RedirectURL: authserver.CallbackURL(public), Now: w.now, Scopes: w.scopes,
	})
	w.must(err)
	tokens, err := tokens.New(tokens.Config{Store: st, Forgejo: forge, Now: w.now, Log: log, Audit: events})
	w.must(err)
	w.upstream = tokens
	may := rights.New(rights.Config{Store: st, Forgejo: forge, Tokens: tokens, Audit: events, Log: log, Now: w.now})
	w.t.Cleanup(may.Close)
	if w.policy != "" {
		doc, err := policy.Parse([]byte(w.policy))
		w.must(err)
		w.must(may.Load(w.t.Context(), doc))
	}
	return authserver.New(authserver.Config{
		Documents: w.documents,
		Addresses: &ratelimit.Addresses{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		PublicURL: public, Site: site.Site{
			Store: st, Forgejo: forge, Tokens: tokens, Rights: may, Audit: events, Log: log, Now: w.now, Schemes: w.schemes, DeviceGrant: w.devices,
			Revoked: func(context.Context, string) { w.ended.Add(1) },
		},
		AccessTTL: 4 * time.Hour, RefreshTTL: 720 * time.Hour,
		Redeemed: func(a model.Access) { w.redeemed.Add(1); w.latest.Store(&a) },
	})
}

// operator adds and removes clients.
func (w *world) operator() *operator.Operator {
	return operator.New(operator.Config{
		Settings: &config.Config{}, Store: w.store, Audit: audit.New(w.trail), Now: w.now, Revoked: func(context.Context, string) { w.ended.Add(1) },
	})
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// answer is a response that has been read.
type answer struct {
	*http.Response
	body string
}

func (a answer) json(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("not JSON (%d): %s", a.StatusCode, a.body)
	}
	return v
}

// location is where the answer redirects to.
func (a answer) location(t testing.TB) *url.URL {
	t.Helper()
	u, err := a.Location()
	if err != nil {
		t.Fatalf("no redirect but %d: %s", a.StatusCode, a.body)
	}
	return u
}

func (w *world) do(c *http.Client, r *http.Request) answer {
	w.t.Helper()
	resp, err := c.Do(r)
	w.must(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	w.must(err)
	return answer{resp, string(body)}
}

func (w *world) request(method, target, body string, headers ...string) *http.Request {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, target, strings.NewReader(body))
	w.must(err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func (w *world) get(target string, headers ...string) answer {
	return w.do(newBrowser(), w.request(http.MethodGet, target, "", headers...))
}

func (w *world) post(path string, form url.Values, headers ...string) answer {
	headers = append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)
	return w.do(newBrowser(), w.request(http.MethodPost, w.url+path, form.Encode(), headers...))
}

// newBrowser keeps cookies and stays where it is.
func newBrowser() *http.Client {
	jar, _ := cookiejar.New(nil) // fails never without options
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// client is a registered client with one PKCE verifier.
type client struct {
	id, redirectURI, verifier string
}

// register registers a client that reads back what it sent.
func (w *world) register(body string) map[string]any {
	w.t.Helper()
	a := w.do(newBrowser(), w.request(http.MethodPost, w.url+"/oauth/register", body, "Content-Type", "application/json"))
	if a.StatusCode != http.StatusCreated {
		w.t.Fatalf("registration: %d %s", a.StatusCode, a.body)
	}
	return a.json(w.t)
}

const clientBody = `{"client_name":"Test <Client>","redirect_uris":["http://127.0.0.1/cb"],"token_endpoint_auth_method":"none"}`

// newClient registers clientBody, and from the second time on with other names, since
// equal registrations are one client.
func (w *world) newClient() client {
	w.t.Helper()
	body := clientBody
	if w.clients++; w.clients > 1 {
		body = strings.Replace(body, "<Client>", fmt.Sprint("<Client> ", w.clients), 1)
	}
	got := w.register(body)
	return client{id: got["client_id"].(string), redirectURI: "http://127.0.0.1:9999/cb", verifier: forgejo.NewVerifier()}
}

// authorizeQuery is a good authorization request with changes; a change to ""
// leaves the parameter out.
func (c client) authorizeQuery(changes ...string) url.Values {
	v := url.Values{
		"response_type": {"code"}, "client_id": {c.id}, "redirect_uri": {c.redirectURI}, "state": {"client state &="},
		"code_challenge": {oauth.Challenge(c.verifier)}, "code_challenge_method": {"S256"},
	}
	change(v, changes)
	return v
}

func (c client) tokenForm(code string, changes ...string) url.Values {
	v := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "client_id": {c.id}, "redirect_uri": {c.redirectURI}, "code_verifier": {c.verifier},
	}
	change(v, changes)
	return v
}

func (c client) refreshForm(token string, changes ...string) url.Values {
	v := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {c.id}}
	change(v, changes)
	return v
}

func change(v url.Values, changes []string) {
	for i := 0; i < len(changes); i += 2 {
		v.Del(changes[i])
		if changes[i+1] != "" {
			v.Set(changes[i], changes[i+1])
		}
	}
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// consentForm opens the consent page and returns its form.
func (w *world) consentForm(b *http.Client, query url.Values) url.Values {
	w.t.Helper()
	page := w.do(b, w.request(http.MethodGet, w.url+"/oauth/authorize?"+query.Encode(), ""))
	if page.StatusCode != http.StatusOK {
		w.t.Fatalf("consent page: %d %s", page.StatusCode, page.body)
	}
	form := url.Values{}
	for _, field := range hidden.FindAllStringSubmatch(page.body, -1) {
		form.Set(field[1], html.UnescapeString(field[2]))
	}
	return form
}

func (w *world) decide(b *http.Client, form url.Values, decision string) answer {
	w.t.Helper()
	form.Set("decision", decision)
	if form.Get("access") == "" {
		form.Set("access", cmp.Or(w.choose, "write")) // the page's default
	}
	return w.do(b, w.request(http.MethodPost, w.url+"/oauth/authorize", form.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
}

// atForge consents and logs in at the forge as alice. It returns the callback URL
// that the forge redirects to.
func (w *world) atForge(b *http.Client, query url.Values) string {
	w.t.Helper()
	return w.throughForge(w.decide(b, w.consentForm(b, query), "allow").location(w.t).String())
}

// throughForge logs in at the forge as alice and returns where it redirects to.
func (w *world) throughForge(to string) string {
	w.t.Helper()
	back, err := loginclient.NewBrowser(nil, "alice", "alice-password").Authorize(w.t.Context(), to)
	w.must(err)
	return back.URL.String()
}

// logIn walks a whole login, with changes to the authorization request, and returns the
// code.
func (w *world) logIn(c client, changes ...string) string {
	w.t.Helper()
	b := newBrowser()
	a := w.do(b, w.request(http.MethodGet, w.atForge(b, c.authorizeQuery(changes...)), ""))
	code := a.location(w.t).Query().Get("code")
	if code == "" {
		w.t.Fatalf("no code in %s", a.location(w.t))
	}
	return code
}

// tokens redeems a code.
func (w *world) tokens(c client, code string) (access, refresh string) {
	w.t.Helper()
	a := w.post("/oauth/token", c.tokenForm(code))
	if a.StatusCode != http.StatusOK {
		w.t.Fatalf("token: %d %s", a.StatusCode, a.body)
	}
	v := a.json(w.t)
	return v["access_token"].(string), v["refresh_token"].(string)
}

// bearer authenticates a request with an access token.
func (w *world) bearer(token string) error {
	_, err := w.access(token)
	return err
}

func (w *world) access(token string) (model.Access, error) { return w.accessAt("/mcp", token) }

// accessAt is access at another endpoint.
func (w *world) accessAt(path, token string) (model.Access, error) {
	r := httptest.NewRequest(http.MethodPost, w.url+path, nil)
	r.Header.Set("Authorization", "bearer "+token)
	return w.server.Authenticate(r, w.at(path))
}

// at is the endpoint of that path.
func (w *world) at(path string) endpoint.Path {
	w.t.Helper()
	p, err := endpoint.Parse(path)
	w.must(err)
	return p
}

// wantError asserts an OAuth error.
func (a answer) wantError(t testing.TB, status int, code, text string) {
	t.Helper()
	v := a.json(t)
	description, _ := v["error_description"].(string)
	if a.StatusCode != status || v["error"] != code || !strings.Contains(description, text) {
		t.Errorf("%d %s, want %d %s %q", a.StatusCode, a.body, status, code, text)
	}
}

// serve answers a request without a network.
func serve(t testing.TB, h http.Handler, r *http.Request) answer {
	t.Helper()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return answer{rec.Result(), rec.Body.String()}
}
