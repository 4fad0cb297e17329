package session_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/rights"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/tokens"
	launchclient "github.com/fjmcp/fjmcp-broker/internal/launcher/client"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
	"github.com/fjmcp/fjmcp-broker/internal/test/programs"
	"github.com/fjmcp/fjmcp-broker/internal/test/testlog"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

// bin holds fjmcp-session and the backends.
var bin string

func TestMain(m *testing.M) {
	os.Exit(programs.Main(m, &bin, "fjmcp-session", programs.Standin, programs.Old, programs.Everything, programs.Held))
}

// world is a store, a forge, and the session manager of one broker.
type world struct {
	*session.Manager
	t      *testing.T
	cfg    session.Config
	store  *store.Store
	forge  *fakeforge.Server
	login  teststore.Login
	access model.Access // read and write
	began  time.Time
	offset atomic.Int64 // of the clock, which stands otherwise
	log    *testlog.Buffer
}

func (w *world) now() time.Time { return w.began.Add(time.Duration(w.offset.Load())) }

func (w *world) advance(d time.Duration) { w.offset.Add(int64(d)) }

// start runs a manager with the named backend of bin, or an absolute path.
func start(t *testing.T, backend string) *world {
	t.Helper()
	if !filepath.IsAbs(backend) {
		backend = filepath.Join(bin, backend)
	}
	const callback = "http://127.0.0.1/oauth/callback"
	w := &world{t: t, began: time.Now(), log: &testlog.Buffer{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", w.log)
		}
	})
	forge := fakeforge.Start(t, fakeforge.Config{}, callback)
	w.forge = forge
	client, err := forgejo.New(forgejo.Config{URL: forge.URL, ClientID: forge.App.ClientID, ClientSecret: forge.App.ClientSecret, RedirectURL: callback, Now: w.now})
	w.must(err)
	log, events := slog.New(slog.NewTextHandler(w.log, nil)), audit.New(w.log)
	w.store = teststore.Open(t, teststore.Path(t), w.now)
	tokens, err := tokens.New(tokens.Config{Store: w.store, Forgejo: client, Now: w.now, Log: log, Audit: events})
	w.must(err)
	launcher, err := launchclient.NewProcess(launchclient.ProcessConfig{
		SessionBinary: filepath.Join(bin, "fjmcp-session"), ForgejoURL: strings.Replace(forge.URL, "127.0.0.1", "forge.localhost", 1), ForgejoMCP: backend,
		Now: w.now, Log: log,
	})
	w.must(err)
	w.cfg = session.Config{
		Config: unit.Config{
			Launcher: launcher, Tokens: tokens, Log: log, Now: w.now,
			IdleTimeout: time.Hour, StartTimeout: time.Minute, ProbeTimeout: 30 * time.Second,
		},
		Store: w.store, Audit: events, MaxAge: 24 * time.Hour, PerUser: 5, Max: 10,
	}
	w.cfg.Rights = rights.New(rights.Config{Store: w.store, Forgejo: client, Tokens: tokens, Audit: events, Log: log, Now: w.now})
	t.Cleanup(w.cfg.Rights.Close)
	w.Manager = session.New(w.cfg)
	t.Cleanup(func() {
		w.Shutdown(context.Background())
		launcher.Close()
	})
	w.login = teststore.LogIn(t, w.store, "alice", w.now())
	verifier := forgejo.NewVerifier()
	back, err := loginclient.NewBrowser(nil, "alice", "alice-password").Authorize(t.Context(), client.AuthCodeURL("s", verifier))
	w.must(err)
	set, err := client.Exchange(t.Context(), back.URL.Query().Get("code"), verifier)
	w.must(err)
	w.must(tokens.Put(t.Context(), w.login.User.ID, set))
	w.access = model.Access{
		User: w.login.User, ClientID: w.login.Client.ID, Client: w.login.Client.Name,
		GrantID: w.login.Grant.ID, Scope: w.login.Grant.Scope,
	}
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// disconnect revokes all that a login's user has granted to its client.
func (w *world) disconnect(a model.Access) {
	w.t.Helper()
	_, err := w.store.Disconnect(w.t.Context(), a.User.ID, a.ClientID)
	w.must(err)
}

// restart is what the next broker process does.
func (w *world) restart() {
	w.t.Helper()
	w.Shutdown(w.t.Context())
	w.Manager = session.New(w.cfg)
	w.must(w.Reconcile(w.t.Context()))
}

// reader is an access token of the same grant that may read alone.
func (w *world) reader() model.Access {
	a := w.access
	a.Scope = "forgejo:read"
	return a
}

// reading is the access of a request that wants to read only.
func (w *world) reading() model.Access {
	access := w.access
	access.Scope, access.ViewReadOnly = model.ScopeRead, true
	return access
}

func (w *world) shared(access model.Access) *session.Session {
	w.t.Helper()
	s, err := w.Shared(w.t.Context(), access)
	w.must(err)
	return s
}

func (w *world) server(s *session.Session, access model.Access) session.Server {
	w.t.Helper()
	server, err := s.Server(w.t.Context(), access)
	w.must(err)
	return server
}

func message(raw string) mcp.Message {
	m, err := mcp.Parse([]byte(raw))
	if err != nil {
		panic(err)
	}
	return m
}

// call makes a request of s and returns everything that came, the response last.
func (w *world) call(s *session.Session, access model.Access, raw string) (all []mcp.Message) {
	w.t.Helper()
	c, err := s.Call(w.t.Context(), access, message(raw))
	w.must(err)
	for {
		e, err := c.Next(w.t.Context())
		w.must(err)
		all = append(all, message(string(e.Raw)))
		if e.Final {
			return all
		}
	}
}

// units are the units that run.
func (w *world) units() []string {
	w.t.Helper()
	ids, err := w.cfg.Launcher.List(w.t.Context())
	w.must(err)
	return ids
}

// until waits for a condition.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited too long: %s", what)
		}
	}
}
