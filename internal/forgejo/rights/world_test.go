package rights_test

import (
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/rights"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/tokens"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
	"github.com/fjmcp/fjmcp-broker/internal/test/testlog"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

const redirectURL = "http://broker.test/oauth/callback"

// world is a forge, and a broker's knowledge of who may do what there.
type world struct {
	testing.TB
	forge  *fakeforge.Server
	path   string
	store  *store.Store
	client *forgejo.Client
	tokens *tokens.Tokens
	rights *rights.Rights
	trail  *testlog.Buffer
	start  time.Time
	offset atomic.Int64

	mu      sync.Mutex
	changes []string // user ids, as Changed told
}

func newWorld(t testing.TB) *world {
	w := &world{TB: t, forge: fakeforge.Start(t, fakeforge.Config{}, redirectURL), path: teststore.Path(t), trail: &testlog.Buffer{}, start: time.Now()}
	w.restart("")
	return w
}

func (w *world) now() time.Time { return w.start.Add(time.Duration(w.offset.Load())) }

func (w *world) advance(d time.Duration) {
	w.offset.Add(int64(d))
	w.forge.Advance(d)
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// restart is another process with the same database, under a policy, if text is one.
func (w *world) restart(text string, scopes ...string) {
	w.Helper()
	log, events := slog.New(slog.NewTextHandler(w.trail, nil)), audit.New(w.trail)
	w.store = teststore.Open(w, w.path, w.now)
	var err error
	w.client, err = forgejo.New(forgejo.Config{
		URL: w.forge.URL, ClientID: w.forge.App.ClientID, ClientSecret: w.forge.App.ClientSecret, RedirectURL: redirectURL, Now: w.now, Scopes: scopes,
	})
	w.must(err)
	w.tokens, err = tokens.New(tokens.Config{Store: w.store, Forgejo: w.client, Now: w.now, Log: log, Audit: events})
	w.must(err)
	w.rights = rights.New(rights.Config{Store: w.store, Forgejo: w.client, Tokens: w.tokens, Audit: events, Log: log, Now: w.now})
	w.Cleanup(w.rights.Close)
	w.rights.Changed(func(userID string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changes = append(w.changes, userID)
	})
	w.must(w.rights.Start(w.Context(), w.parse(text)))
}

// told returns what Changed has told since.
func (w *world) told() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	told := w.changes
	w.changes = nil
	return told
}

// parse reads a policy; an empty one is none.
func (w *world) parse(text string) *policy.Document {
	w.Helper()
	if text == "" {
		return nil
	}
	doc, err := policy.Parse([]byte(text))
	w.must(err)
	return doc
}

func (w *world) load(text string) error {
	w.Helper()
	return w.rights.Load(w.Context(), w.parse(text))
}

func (w *world) join(user, org, team string) int64 {
	w.Helper()
	id, err := w.forge.Join(user, org, team)
	w.must(err)
	return id
}

// tryLogIn logs a user in at the forge and asks what the login may lead to.
func (w *world) tryLogIn(name string) (model.User, string, error) {
	w.Helper()
	verifier := forgejo.NewVerifier()
	back, err := loginclient.NewBrowser(nil, name, name+"-password").Authorize(w.Context(), w.client.AuthCodeURL("state", verifier))
	w.must(err)
	set, err := w.client.Exchange(w.Context(), back.URL.Query().Get("code"), verifier)
	w.must(err)
	who, err := w.client.Identity(w.Context(), set.AccessToken)
	w.must(err)
	user, err := w.store.UpsertUser(w.Context(), w.client.Origin(), who.Subject, who.Name)
	w.must(err)
	w.must(w.tokens.Put(w.Context(), user.ID, set))
	ceiling, err := w.rights.AtLogin(w.Context(), user, set.AccessToken)
	return user, ceiling, err
}

// logIn is a login that leads to a grant.
func (w *world) logIn(name string) model.Access {
	w.Helper()
	user, ceiling, err := w.tryLogIn(name)
	w.must(err)
	client := model.Client{ID: model.NewID(), Name: "test", AuthMethod: "none", RedirectURIs: []string{"http://127.0.0.1/"}, CreatedAt: w.now()}
	w.must(w.store.CreateClient(w.Context(), client))
	grant := model.Grant{ID: model.NewID(), UserID: user.ID, ClientID: client.ID, Scope: "forgejo:read forgejo:write", CreatedAt: w.now(), Ceiling: ceiling}
	w.must(teststore.Grant(w.Context(), w.store, grant, store.Code{Hash: model.Hash(grant.ID), ExpiresAt: w.now().Add(time.Minute)}))
	return model.Access{User: user, ClientID: client.ID, GrantID: grant.ID, Scope: grant.Scope, Ceiling: ceiling}
}

// limits are those of an access now; both ways to ask agree.
func (w *world) limits(a model.Access) policy.Limits {
	w.Helper()
	w.must(w.rights.Limit(w.Context(), &a))
	if a.LimitsKey != a.Limits.Key() {
		w.Errorf("key %q of limits with key %q", a.LimitsKey, a.Limits.Key())
	}
	b, err := w.rights.OfLogin(w.Context(), a.User.ID, a.GrantID)
	w.must(err)
	if b.Key != a.LimitsKey {
		w.Errorf("OfLogin says %+v, Limit %+v", b.Limits, a.Limits)
	}
	return a.Limits
}

// may wants what an access may do now: nothing, read or write.
func (w *world) may(a model.Access, want string) {
	w.Helper()
	if got := can(w.limits(a)); got != want {
		w.Errorf("%s may %s, want %s: %+v", a.User.Name, got, want, w.limits(a))
	}
}

func can(l policy.Limits) string {
	switch {
	case !l.Connect().Allowed:
		return "nothing"
	case l.ReadOnly():
		return "read"
	}
	return "write"
}

func number(n int64) string { return strconv.FormatInt(n, 10) }
