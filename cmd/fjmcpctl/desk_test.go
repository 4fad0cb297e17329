package main

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fjmcp/fjmcp-broker/internal/operator"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

// desk is a broker with four sessions, one of which cannot be stopped, and a call
// that never ends. A file "ill" in the script's directory makes it ill.
type desk struct {
	*operator.Operator // of clients, users and grants
	store              *store.Store
	keys               *operator.Operator
	dir                string

	mu    sync.Mutex
	all   []admin.Session
	since time.Time
}

func newDesk(env *testscript.Env) *desk {
	now := time.Now()
	session := func(id, user, client, state string, age, idle time.Duration) admin.Session {
		return admin.Session{ID: id, User: user, UserID: map[string]string{"alice": "1", "bob": "2", "eve": "3"}[user], Client: client, ClientID: "id of " + client + ".and what it registered", Kind: "client", State: state,
			Protocol: "2025-06-18", Created: now.Add(-age), LastUsed: now.Add(-idle)}
	}
	busy := session("bb22222222222222", "bob", "VS\nCode", admin.Running, 5*time.Minute, 2*time.Minute)
	busy.Unit, busy.InFlight, busy.ReadOnly = "fjmcp-session@x.service", 1, true
	t := env.T().(testing.TB)
	st := openStore(t, teststore.Path(t), "key")
	return &desk{Operator: operatorOf(st, ringOf(t, "key")), store: st, keys: keys(env), dir: env.WorkDir, all: []admin.Session{
		busy,
		session("aa11111111111111", "alice", "Claude", admin.Dormant, 3*time.Hour, 2*time.Hour),
		session("aa11000000000000", "alice", "Claude", admin.Dormant, 4*time.Hour, 3*time.Hour),
		session("ee55555555555555", "eve", "stuck", admin.Dormant, time.Hour, time.Hour),
	}}
}

func (d *desk) List(context.Context) ([]admin.Session, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.all), nil
}

func (d *desk) Show(_ context.Context, id string) (admin.Detail, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.all, func(s admin.Session) bool { return s.ID == id })
	s := admin.Detail{Session: d.all[i], Ends: d.all[i].Created.Add(24 * time.Hour), Calls: []admin.Call{}, Launcher: "systemd"}
	if s.InFlight > 0 {
		s.Calls = d.calls()
	}
	if s.Client == "stuck" {
		s.HeldUntil = time.Now().Add(time.Minute)
	}
	return s, nil
}

func (d *desk) calls() []admin.Call {
	if !slices.ContainsFunc(d.all, func(s admin.Session) bool { return s.InFlight > 0 }) {
		return []admin.Call{}
	}
	return []admin.Call{{Session: "bb22222222222222", User: "bob", Method: "tools/call", Tool: "create_issue", Began: time.Now().Add(-2 * time.Minute)}}
}

func (d *desk) Stop(_ context.Context, ids []string) (admin.Stopped, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	done := admin.Stopped{Stopped: []admin.Session{}, Failed: []admin.Unstoppable{}}
	d.all = slices.DeleteFunc(d.all, func(s admin.Session) bool {
		switch {
		case !slices.Contains(ids, s.ID):
			return false
		case s.Client == "stuck":
			done.Failed = append(done.Failed, admin.Unstoppable{ID: s.ID, Error: "the database cannot be written"})
			return false
		}
		done.Stopped = append(done.Stopped, s)
		return true
	})
	return done, nil
}

func (d *desk) Drain(context.Context) (admin.Drain, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.since.IsZero() {
		d.since = time.Now()
	}
	return admin.Drain{Since: d.since, Calls: d.calls()}, nil
}

func (d *desk) Undrain(context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.since = time.Time{}
}

func (d *desk) RotateKey(ctx context.Context) (admin.Rotation, error) { return d.keys.RotateKey(ctx) }

func (d *desk) Trial(context.Context) (admin.Trial, error) {
	return admin.Trial{}, &admin.Error{Text: "this broker has no public URL"}
}

func (d *desk) Status(context.Context) admin.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := admin.Status{
		Version: "1.2.3 (abc)", Started: time.Now().Add(-3 * time.Hour), DrainingSince: d.since, PublicURL: "https://mcp.example.org",
		Forgejo: admin.ForgejoStatus{URL: "https://git.example.org", Version: "11.0.1"}, Launcher: admin.LauncherStatus{Kind: "systemd"},
		Store:    admin.StoreStatus{Path: "/var/lib/fjmcp/fjmcp.db", Bytes: 1_234_567, Schema: "0006_read_only", Users: 1, Clients: 2, Logins: 3, Sealed: 4},
		Policy:   admin.PolicyStatus{File: "/etc/fjmcp/policy.toml"},
		Sessions: admin.SessionsStatus{Running: 1, Dormant: 3, Warm: 2, Max: 200, PerUser: 8, InFlight: 1},
	}
	s.Checks = []health.Result{
		{Name: "store", State: health.OK, Since: s.Started, Checked: time.Now().Add(-2 * time.Second)},
		{Name: "forge", State: health.OK, Since: s.Started, Checked: time.Now()},
	}
	if ill, _ := filepath.Glob(filepath.Join(d.dir, "ill")); len(ill) > 0 {
		s.Forgejo.Version = ""
		s.Checks[1] = health.Result{Name: "forge", State: health.Failing, Since: s.Started, Checked: time.Now(), Fault: health.ForgeDown, Cause: "no answer came\nin time", Cure: "curl evil | sh"}
		s.Checks = append(s.Checks, health.Result{Name: "public-url", State: health.Pending})
		s.Store.OlderKey, s.Store.Unreadable = 2, 1
		s.Policy = admin.PolicyStatus{File: "/etc/fjmcp/policy.toml", Rules: 2, Digest: "0123456789abcdef", Loaded: s.Started, Failures: 1, Failed: true, Unknown: []string{"user nobody"}}
	}
	s.Assess()
	return s
}
