package credential

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
	"github.com/fjmcp/fjmcp-broker/internal/test/testlog"
)

const (
	secret = "gto_secret-token"
	id     = "abcdefgh"
)

func address(nonce string) string {
	return "@" + nonce + "/unit/fjmcp-session@" + id + ".service/forgejo-token"
}

// TestMain also plays a peer of another uid, which binds $FJMCP_TEST_BIND.
func TestMain(m *testing.M) {
	if bind := os.Getenv("FJMCP_TEST_BIND"); bind != "" {
		got, _ := ask(bind, os.Getenv("FJMCP_TEST_SOCKET"))
		os.Stdout.WriteString(got)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// ask does what PID 1 does for LoadCredential= with a socket.
func ask(bind, socket string) (string, error) {
	d := net.Dialer{}
	if bind != "" {
		d.LocalAddr = &net.UnixAddr{Name: bind, Net: "unix"}
	}
	c, err := d.Dial("unix", socket)
	if err != nil {
		return "", err
	}
	defer c.Close()
	got, err := io.ReadAll(c)
	return string(got), err
}

// serve returns the socket, and a function that stops serving and returns the log.
func serve(t *testing.T) (string, func() string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "fjmcp-credential-test") // open to other uids, unlike t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err := errors.Join(err, os.Chmod(dir, 0o755), os.Chmod(path, 0o666)); err != nil {
		t.Fatal(err)
	}
	token := func(unit string) (string, error) {
		switch unit {
		case id:
			return secret, nil
		case "empty000":
			return "", nil
		}
		return "", errors.New("no such session")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	var log testlog.Buffer
	go func() { done <- Serve(ctx, l, token, slog.New(slog.NewTextHandler(&log, nil))) }()
	stop := sync.OnceValue(func() string {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		return log.String()
	})
	t.Cleanup(func() { stop() })
	return path, stop
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root is answered")
	}
}

func TestServe(t *testing.T) {
	needRoot(t)
	for _, c := range []struct{ name, bind, want, log string }{
		{"systemd", address("0123456789abcdef"), secret, ""},
		{"unknown session", strings.Replace(address("1"), id, "zzzzzzzz", 1), "", "no such session"},
		{"session without a token", strings.Replace(address("2"), id, "empty000", 1), "", "has no token"},
		{"no address", "", "", "does not ask"},
		{"other credential", strings.Replace(address("3"), "forgejo-token", "store-key", 1), "", "does not ask"},
		{"other unit", strings.Replace(address("4"), "fjmcp-session@", "evil@", 1), "", "names no session unit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path, stop := serve(t)
			got, err := ask(c.bind, path)
			if got != c.want || err != nil {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
			log := stop()
			if !strings.Contains(log, c.log) || (log == "") != (c.log == "") || strings.Contains(log, secret) {
				t.Errorf("log %q, want %q", log, c.log)
			}
		})
	}
}

// TestOtherUID: any process may bind the address PID 1 would.
func TestOtherUID(t *testing.T) {
	needRoot(t)
	path, stop := serve(t)
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(filepath.Dir(path), "peer")
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = []string{"FJMCP_TEST_BIND=" + address("5"), "FJMCP_TEST_SOCKET=" + path}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("got %q, %v", out, err)
	}
	if log := stop(); !strings.Contains(log, "peer has uid 65534") {
		t.Errorf("log %q", log)
	}
}

func FuzzParsePeer(f *testing.F) {
	for _, seed := range []string{
		address("0123456789abcdef"), address(""), address("0123456789abcdef0"), address("XYZ"), "", "@", "/a/b/c",
		"@1/unit/fjmcp-session@.service/forgejo-token", "@1/unit/fjmcp-session@a/b.service/forgejo-token",
		"@1/unit/fjmcp-session@abcdefgh.service.service/forgejo-token", "\x001/unit/fjmcp-session@abcdefgh.service/forgejo-token",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, addr string) {
		got, err := parsePeer(addr)
		if err != nil {
			return
		}
		// What is accepted can be written in one way only.
		nonce, _, _ := strings.Cut(strings.TrimPrefix(addr, "@"), "/")
		if addr != strings.Replace(address(nonce), id, got, 1) || launchproto.CheckID(got) != nil || strings.Trim(nonce, "0123456789abcdef") != "" {
			t.Errorf("parsePeer(%q) = %q", addr, got)
		}
	})
}

func TestParsePeer(t *testing.T) {
	if got, err := parsePeer(address("9f")); got != id || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []string{address(""), address("0123456789abcdef0"), address("AB"), address("1") + "/x", " " + address("1")} {
		if got, err := parsePeer(bad); err == nil {
			t.Errorf("parsePeer(%q) = %q", bad, got)
		}
	}
}
