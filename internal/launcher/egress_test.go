package launcher

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
	"github.com/fjmcp/fjmcp-broker/internal/test/testlog"
)

// from is an environment.
func from(env ...string) func(string) string {
	return func(name string) string {
		for _, e := range env {
			if value, ok := strings.CutPrefix(e, name+"="); ok {
				return value
			}
		}
		return ""
	}
}

func TestEgressAddress(t *testing.T) {
	for url, want := range map[string]string{
		"https://git.example.org":         "git.example.org:443",
		"https://Git.example.org/sub":     "git.example.org:443",
		"http://git.example.org":          "git.example.org:80",
		"https://git.example.org:8443":    "git.example.org:8443",
		"http://forgejo.localhost:3000":   "forgejo.localhost:3000",
		"http://[::1]:3000":               "[::1]:3000",
		"https://[2001:db8::1]":           "[2001:db8::1]:443",
		"":                                "",
		"git.example.org":                 "",
		"ftp://git.example.org":           "",
		"https://user:pw@git.example.org": "",
		"http://[fe80::1%25eth0]:3000":    "",
		"https://%2Frun%2Fsock":           "",
	} {
		e, err := NewEgress(from(envForgejoURL+"="+url), slog.New(slog.DiscardHandler))
		got := ""
		if err == nil {
			got = e.address
		} else if strings.Contains(err.Error(), "pw") || !strings.Contains(err.Error(), "broker.env") {
			t.Errorf("the error shows the password, or not where to mend it: %v", err)
		}
		if got != want {
			t.Errorf("%q leads to %q, %v; want %q", url, got, err, want)
		}
	}
	for _, env := range []string{envForgejoSocket + "=forgejo.sock", envForgejoUser + "=nobody-of-this-name"} {
		if _, err := NewEgress(from(envForgejoURL+"=http://x", env), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "broker.env") {
			t.Errorf("%s gives %v", env, err)
		}
	}
}

// listener is what listens in the forge's place, and tells what it was sent.
type listener struct {
	net.Listener
	got chan string
}

func newForge(t *testing.T, network, address string) *listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	f := &listener{l, make(chan string, 10)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				line, _ := bufio.NewReader(c).ReadString('\n')
				f.got <- line
				_, _ = io.WriteString(c, "answer")
			}()
		}
	}()
	return f
}

// serveEgress returns a function that says a line to the forge and gives the answer.
func serveEgress(t *testing.T, log io.Writer, env ...string) func() string {
	t.Helper()
	e, err := NewEgress(from(env...), slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "egress.sock"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- e.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return func() string {
		c, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "token\n")
		answer, _ := io.ReadAll(c)
		return string(answer)
	}
}

// Not a byte reaches a program of another user that listens where the forge should, and
// the log says once whose it is.
func TestEgressLooksWhoListens(t *testing.T) {
	me, other := strconv.Itoa(os.Getuid()), "12345"
	socket := filepath.Join(t.TempDir(), "forgejo.sock")
	for name, f := range map[string]*listener{
		"IPv4": newForge(t, "tcp", "127.0.0.1:0"), "any address": newForge(t, "tcp", ":0"), "socket": newForge(t, "unix", socket),
	} {
		t.Run(name, func(t *testing.T) {
			env := []string{envForgejoURL + "=http://forgejo.localhost:" + strings.TrimPrefix(f.Addr().String()[strings.LastIndex(f.Addr().String(), ":")+1:], ":")}
			if name == "socket" {
				env = []string{envForgejoURL + "=https://git.example.org", envForgejoSocket + "=" + socket}
			}
			for _, user := range []string{"", me} {
				if got := serveEgress(t, io.Discard, append(env, envForgejoUser+"="+user)...)(); got != "answer" || <-f.got != "token\n" {
					t.Errorf("user %q: the answer is %q", user, got)
				}
			}
			log := &testlog.Buffer{}
			say := serveEgress(t, log, append(env, envForgejoUser+"="+other)...)
			for range 3 {
				if got := say(); got != "" {
					t.Errorf("another user answered %q", got)
				}
				if got := <-f.got; got != "" {
					t.Errorf("another user was sent %q", got)
				}
			}
			if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "uid "+me+" listens there, and it should be 12345") {
				t.Errorf("the log is\n%s", text)
			}
		})
	}
}

// The owner of a forge on another host cannot be known.
func TestOwnerElsewhere(t *testing.T) {
	f := newForge(t, "tcp", "127.0.0.1:0")
	_, port, _ := net.SplitHostPort(f.Addr().String())
	log := &testlog.Buffer{}
	say := serveEgress(t, log, envForgejoURL+"=http://forgejo.localhost:"+port, envForgejoUser+"=12345")
	f.Close()
	if got := say(); got != "" || !strings.Contains(log.String(), "cannot reach the forge") {
		t.Errorf("got %q\n%s", got, log)
	}
}

// The kernel's connections end when the service does.
func TestEgressEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	e, err := NewEgress(from(envForgejoURL+"=http://"+l.Addr().String()), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	near, err := net.Listen("unix", filepath.Join(t.TempDir(), "egress.sock"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- e.Serve(ctx, near) }()
	c, err := net.Dial("unix", near.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a connection of the ended service gives %v", err)
	}
}

// Who is gone keeps no place that others need, whatever the forge does; nor does who has
// the forge's answer.
func TestEgressLetsGo(t *testing.T) {
	forge, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer forge.Close()
	e, err := NewEgress(from(envForgejoURL+"=http://"+forge.Addr().String()), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	e.slots = make(chan struct{}, 1)
	near, err := net.Listen("unix", filepath.Join(t.TempDir(), "egress.sock"))
	if err != nil {
		t.Fatal(err)
	}
	go e.Serve(t.Context(), near)
	// next begins a connection and returns both its ends.
	next := func() (session, far net.Conn) {
		session, err := net.Dial("unix", near.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { session.Close() })
		_ = forge.(*net.TCPListener).SetDeadline(time.Now().Add(20 * time.Second))
		if far, err = forge.Accept(); err != nil {
			t.Fatalf("there is no place: %v", err)
		}
		t.Cleanup(func() { far.Close() })
		return session, far
	}
	session, _ := next()
	session.Close()
	session, far := next()
	const answer = "an answer before all was asked"
	_, _ = io.WriteString(far, answer)
	far.Close()
	if got, err := io.ReadAll(session); err != nil || string(got) != answer {
		t.Errorf("got %q, %v", got, err)
	}
	next()
}

// All sessions have the connections that their proxies let through, and the unit has the
// descriptors for them.
func TestEgressHasRoomForAll(t *testing.T) {
	unit, err := os.ReadFile("../../units/fjmcp-egress.service")
	if err != nil {
		t.Fatal(err)
	}
	limit := regexp.MustCompile(`(?m)^LimitNOFILE=(\d+)$`).FindSubmatch(unit)
	if limit == nil {
		t.Fatal("there is no LimitNOFILE=")
	}
	const all, own = launchproto.MostSessions * launchproto.ForgeConnections, 100
	if n, _ := strconv.Atoi(string(limit[1])); n < all*egressDescriptors+own || egressConnections < all {
		t.Errorf("LimitNOFILE=%d and %d connections do not do for %d", n, egressConnections, all)
	}
}

func TestListening(t *testing.T) {
	for row, want := range map[string]string{
		"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode":                                                                   "",
		"   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 26614 1 0000000000000000 100 0 0 10 0":                                   "127.0.0.1:3000 1000",
		"   1: 0100007F:0BB8 0100007F:9C40 01 00000000:00000000 00:00000000 00000000  1000        0 26615 1 0000000000000000 20 4 30 10 -1":                                  "",
		"   2: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 4294967294        0 1 1 0 100 0 0 10 0": "[::1]:8080 4294967294",
		"   3: B80D01200000000067452301EFCDAB89:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0":      "[2001:db8::123:4567:89ab:cdef]:80 0",
		"   4: 00000000:FFFFF 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1":                                                                      "",
	} {
		local, uid, ok := listening(row)
		got := ""
		if ok {
			got = local.String() + " " + strconv.FormatUint(uint64(uid), 10)
		}
		if got != want {
			t.Errorf("%q reads %q, want %q", row, got, want)
		}
	}
}
