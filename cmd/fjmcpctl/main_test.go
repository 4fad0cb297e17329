package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/tokens"
	"github.com/fjmcp/fjmcp-broker/internal/operator"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/archive"
	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
	"github.com/fjmcp/fjmcp-broker/internal/operator/restore/apply"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"fjmcpctl": main, "fjmcp-broker": func() {
		if err := apply.Run(context.Background(), os.Stdin, os.NewFile(3, "backup"), os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "fjmcp-broker:", err)
			os.Exit(1)
		}
	}})
}

// TestScripts runs testdata/*.txt; $SOCKET is an admin socket with the sessions of
// desk and, in a store, no clients. That the real broker does what it says is held
// by package integration.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", Setup: func(env *testscript.Env) error {
		socket := filepath.Join(env.WorkDir, "admin.sock")
		env.Setenv("SOCKET", socket)
		if err := os.WriteFile(filepath.Join(env.WorkDir, "store-key"), model.Hash("key"), 0o600); err != nil { // desk's
			return err
		}
		l, err := net.Listen("unix", socket)
		if err != nil {
			return err
		}
		d := newDesk(env)
		env.Values["desk"] = d
		s := &http.Server{Handler: admin.Handler(d, slog.New(slog.DiscardHandler))}
		go func() { _ = s.Serve(admin.Peers(l)) }()
		env.Defer(func() { s.Close() })
		return nil
	}, Cmds: map[string]func(*testscript.TestScript, bool, []string){"removeclient": removeClient, "exits": exits, "login": logIn, "revokegrants": revokeGrants, "brokerlog": brokerLog},
		Condition: func(name string) (bool, error) {
			if name != "booted" { // with systemd, sd_booted(3)
				return false, fmt.Errorf("unknown condition %q", name)
			}
			_, err := os.Stat("/run/systemd/system")
			return err == nil, nil
		}})
}

// removeClient removes the client of a name with fjmcpctl, which wants its ID.
func removeClient(ts *testscript.TestScript, neg bool, args []string) {
	all, err := admin.NewCaller(ts.Getenv("SOCKET")).ListClients(context.Background())
	ts.Check(err)
	for _, c := range all {
		if c.Name == args[0] {
			ts.Check(ts.Exec("fjmcpctl", "clients", "remove", c.ID, "--socket", ts.Getenv("SOCKET")))
			return
		}
	}
	ts.Fatalf("there is no client %q", args[0])
}

// revokeGrants revokes all grants of a user, by their IDs.
func revokeGrants(ts *testscript.TestScript, neg bool, args []string) {
	all, err := admin.NewCaller(ts.Getenv("SOCKET")).Grants(context.Background())
	ts.Check(err)
	argv := append([]string{"grants", "revoke", "--socket", ts.Getenv("SOCKET")}, args[1:]...)
	for _, g := range all {
		if g.User == args[0] {
			argv = append(argv, g.ID)
		}
	}
	if err := ts.Exec("fjmcpctl", argv...); (err != nil) != neg {
		ts.Fatalf("%v: %v", argv, err)
	}
}

// logIn has a user, of a name and a number, log in with a client of a name, and perhaps of
// an ID, and begin a session.
func logIn(ts *testscript.TestScript, neg bool, args []string) {
	s, now, ctx := ts.Value("desk").(*desk).store, time.Now(), context.Background()
	client := model.Client{ID: "client" + args[1] + model.NewID(), Name: args[2], AuthMethod: "none", CreatedAt: now}
	if len(args) > 3 {
		client.ID = args[3]
	}
	if _, err := s.Client(ctx, client.ID); err != nil {
		ts.Check(s.CreateClient(ctx, client))
	}
	user, err := s.UpsertUser(ctx, "https://git.example.org", args[1], args[0])
	grant := model.Grant{ID: "grant" + model.NewID(), UserID: user.ID, ClientID: client.ID, Scope: "forgejo:read", CreatedAt: now}
	code := model.NewToken(model.PrefixCode)
	ts.Check(errors.Join(err, teststore.Grant(ctx, s, grant, store.Code{Hash: model.Hash(code), ExpiresAt: now.Add(time.Minute)})))
	_, _, err = s.RedeemCode(ctx, code, client, teststore.Pair(now))
	ts.Check(errors.Join(err, s.CreateSession(ctx, model.Session{
		ID: model.NewID(), UserID: user.ID, ClientID: client.ID, GrantID: grant.ID, CreatedAt: now, LastUsedAt: now,
	})))
}

// keys is an operator of a store under two older keys, of which it still has one.
func keys(env *testscript.Env) *operator.Operator {
	t := env.T().(testing.TB)
	path := teststore.Path(t)
	teststore.LogIn(t, openStore(t, path, "old"), "kept", time.Now())
	teststore.LogIn(t, openStore(t, path, "lost", "old"), "lost", time.Now())
	return operatorOf(openStore(t, path, "new", "old"), ringOf(t, "new", "old"))
}

func operatorOf(s *store.Store, keys *seal.Keyring) *operator.Operator {
	at := func(host string) *url.URL { return &url.URL{Scheme: "https", Host: host} }
	settings := &config.Config{PublicURL: at("mcp.example.org"), ForgejoURL: at("git.example.org")}
	events, log := audit.New(io.Discard), slog.New(slog.DiscardHandler)
	sessions := session.New(session.Config{Config: unit.Config{Tokens: new(tokens.Tokens), Log: log, Now: time.Now}, Store: s, Audit: events, MaxAge: time.Hour})
	return operator.New(operator.Config{
		Settings: settings, Sessions: sessions, Store: s, Keys: keys, Audit: events, Log: log, Now: time.Now,
		Revoked: func(ctx context.Context, grant string) { _ = sessions.EndGrant(ctx, grant) },
	})
}

func openStore(t testing.TB, path string, names ...string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Path: path, Keys: ringOf(t, names...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func ringOf(t testing.TB, names ...string) *seal.Keyring {
	t.Helper()
	var list [][]byte
	for _, name := range names {
		list = append(list, model.Hash(name))
	}
	ring, err := seal.NewKeyring(list[0], list[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// exits runs a command that is to end with a status.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	status := 0
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		status = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(status) != args[0] || neg {
		ts.Fatalf("exit status %d, want %s", status, args[0])
	}
}

// brokerLog writes broker.log, what a broker has written since it made a backup: that, and
// that user 7 was blocked.
func brokerLog(ts *testscript.TestScript, neg bool, args []string) {
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	b, err := archive.Read(f, io.Discard)
	ts.Check(err)
	log, err := os.Create(ts.MkAbs("broker.log"))
	ts.Check(err)
	events := audit.New(log)
	events.Event(context.Background(), audit.Event{Kind: audit.BackupMade, Detail: b.ID + ", 7 bytes"})
	events.Event(context.Background(), audit.Event{Kind: audit.UserBlocked, User: "alice", UserID: "7"})
	ts.Check(log.Close())
}
