package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/systemd"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
	"github.com/fjmcp/fjmcp-broker/internal/test/testlog"
)

// A damaged database is said once, however many ask. Clients get 503 without a word of
// it, fjmcpctl the cause, and as soon as the database is mended the process ends for the next.
func TestDamagedDatabaseIsSaidOnce(t *testing.T) {
	was := holdLook
	holdLook = 5 * time.Millisecond // and it is mended long before holdInterval is over
	t.Cleanup(func() { holdLook = was })
	dir, l, a := configure(t)
	database := filepath.Join(dir, "fjmcp.db")
	write(t, database, []byte(strings.Repeat("no database", 1000)))

	var log testlog.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- serve(t.Context(), systemd.Passed{Sockets: map[string][]net.Listener{"http": {l}, "admin": {a}}}, audit.New(&log), slog.New(slog.NewTextHandler(&log, nil)))
	}()
	for range 20 {
		resp, err := http.Get("http://" + l.Addr().String() + "/mcp")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable || !strings.HasPrefix(string(body), "fjmcp-broker cannot start. ") || strings.Contains(string(body), "database") {
			t.Fatalf("%s: %s, %v", resp.Status, body, err)
		}
	}
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String()+"/", nil)
	r.Header.Set("Accept", "text/html,*/*;q=0.8")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "60" || !resp.Close ||
		!strings.Contains(string(body), "<h1>Not available at the moment</h1>") || strings.Contains(string(body), "database") {
		t.Errorf("a browser is told: %s %v %s, %v", resp.Status, resp.Header, body, err)
	}
	_, err = admin.NewCaller(a.Addr().String()).Status(context.Background())
	if err == nil || !strings.Contains(err.Error(), "file is not a database") || !strings.Contains(err.Error(), database) {
		t.Errorf("fjmcpctl says: %v", err)
	}
	write(t, database, nil) // which is one without tables
	if status := <-ended; status != 1 {
		t.Errorf("it ends with %d", status)
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 || !strings.Contains(log.String(), "file is not a database") {
		t.Errorf("%d lines tell of it:\n%s", n, log.String())
	}
}

// A broker that is told to end while it starts has nothing to say.
func TestEndDuringTheStart(t *testing.T) {
	_, l, a := configure(t)
	ctx, end := context.WithCancel(t.Context())
	end()
	var log testlog.Buffer
	status := serve(ctx, systemd.Passed{Sockets: map[string][]net.Listener{"http": {l}, "admin": {a}}}, audit.New(&log), slog.New(slog.NewTextHandler(&log, nil)))
	if status != 0 || strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("status %d:\n%s", status, &log)
	}
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// configure gives a broker of this process its settings, a directory for its files and
// sockets.
func configure(t *testing.T) (dir string, http, admins net.Listener) {
	t.Helper()
	dir = t.TempDir()
	write(t, filepath.Join(dir, "store-key"), make([]byte, 32))
	write(t, filepath.Join(dir, "forgejo-client-secret"), []byte("secret"))
	beside, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(filepath.Dir(beside), "fjmcp-session"), nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a, err := admin.Listen(filepath.Join(dir, "admin.sock"))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"PUBLIC_URL": "http://" + l.Addr().String(), "FORGEJO_URL": "http://forgejo.localhost:3000", "FORGEJO_CLIENT_ID": "id", "FORGEJO_MCP": "/bin/true",
		"LAUNCHER": "process", "STATE_DIR": dir,
	} {
		t.Setenv("FJMCP_BROKER_"+name, value)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	return dir, l, a
}

// Whatever an operator does to mend a start is seen, but that a database is gone is no cure.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	cfg := &config.Config{StateDir: dir}
	database := filepath.Join(dir, "fjmcp.db")
	if got := files(cfg); got != "" {
		t.Errorf("without a database: %q", got)
	}
	seen := map[string]string{}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"a database", func() error { return os.WriteFile(database, []byte("damaged"), 0o600) }},
		{"its mode", func() error { return os.Chmod(database, 0o644) }},
		{"its size", func() error { return os.WriteFile(database, []byte("restored"), 0o600) }},
		{"another in its place", func() error {
			return errors.Join(os.WriteFile(database+"2", []byte("restored"), 0o600), os.Rename(database+"2", database))
		}},
		{"the directory's mode", func() error { return os.Chmod(dir, 0o500) }},
		{"the directory's mode again", func() error { return os.Chmod(dir, 0o700) }},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		now := files(cfg)
		if before, ok := seen[now]; ok || now != files(cfg) {
			t.Errorf("%s looks like %s: %q", step.what, before, now)
		}
		seen[now] = step.what
	}
}
