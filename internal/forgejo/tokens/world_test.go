package tokens_test

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/tokens"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
	"github.com/fjmcp/fjmcp-broker/internal/test/testlog"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

// world is a forge, a user who has logged in, and two processes of the broker
// on one database.
type world struct {
	*fakeforge.Server
	t      *testing.T
	offset atomic.Int64 // of the brokers' clock
	client *forgejo.Client
	stores []*store.Store
	tokens []*tokens.Tokens
	user   model.User
	out    *testlog.Buffer // log and audit of both
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.offset.Load())) }

func (w *world) advance(d time.Duration) { w.offset.Add(int64(d)) }

func newWorld(t *testing.T, cfg fakeforge.Config) *world {
	t.Helper()
	w := &world{Server: fakeforge.Start(t, cfg, redirectURL), t: t, out: &testlog.Buffer{}}
	var err error
	w.client, err = forgejo.New(forgejo.Config{URL: w.URL, ClientID: w.App.ClientID, ClientSecret: w.App.ClientSecret, RedirectURL: redirectURL, Now: w.now})
	w.must(err)
	path := teststore.Path(t)
	for range 2 {
		s := teststore.Open(t, path, w.now)
		tokens, err := tokens.New(tokens.Config{Store: s, Forgejo: w.client, Now: w.now, Log: slog.New(slog.NewTextHandler(w.out, nil)), Audit: audit.New(w.out)})
		w.must(err)
		w.stores, w.tokens = append(w.stores, s), append(w.tokens, tokens)
	}
	w.user, err = w.stores[0].UpsertUser(t.Context(), w.URL, "1", "alice")
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// exchange logs alice in at the forge.
func (w *world) exchange() model.ForgejoTokens {
	w.t.Helper()
	verifier := forgejo.NewVerifier()
	back, err := loginclient.NewBrowser(nil, "alice", "alice-password").Authorize(w.t.Context(), w.client.AuthCodeURL("s", verifier))
	w.must(err)
	set, err := w.client.Exchange(w.t.Context(), back.URL.Query().Get("code"), verifier)
	w.must(err)
	return set
}

// login logs alice in and stores the set, as the second process.
func (w *world) login() model.ForgejoTokens {
	w.t.Helper()
	set := w.exchange()
	w.must(w.tokens[1].Put(w.t.Context(), w.user.ID, set))
	return set
}

func (w *world) stored() model.ForgejoTokens {
	w.t.Helper()
	set, err := w.stores[1].ForgejoTokens(w.t.Context(), w.user.ID)
	w.must(err)
	return set
}

func (w *world) token() (model.ForgejoTokens, error) {
	return w.tokens[0].Token(w.t.Context(), w.user.ID)
}

func (w *world) fault(f fakeforge.Fault) {
	w.t.Helper()
	f.Path = fakeforge.TokenPath
	w.must(w.Inject(f))
}

// until waits for a condition.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// result is what a call in a goroutine returned.
type result struct {
	set model.ForgejoTokens
	err error
}

func async(call func() (model.ForgejoTokens, error)) chan result {
	done := make(chan result, 1)
	go func() {
		set, err := call()
		done <- result{set, err}
	}()
	return done
}

// crowd calls from eight goroutines in each process and wants one answer.
func (w *world) crowd(call func(*tokens.Tokens) (model.ForgejoTokens, error)) model.ForgejoTokens {
	w.t.Helper()
	var pending []chan result
	start := make(chan struct{})
	for n := range 16 {
		pending = append(pending, async(func() (model.ForgejoTokens, error) {
			<-start
			return call(w.tokens[n%2])
		}))
	}
	close(start)
	first := <-pending[0]
	for _, p := range append(pending[1:], async(func() (model.ForgejoTokens, error) { return first.set, first.err })) {
		r := <-p
		w.must(r.err)
		if r.set.AccessToken != first.set.AccessToken || r.set.RefreshToken != first.set.RefreshToken {
			w.t.Error("two callers got different sets")
		}
	}
	return first.set
}
