package clientmeta_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/clientmeta"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeweb"
)

// network has names resolve, or not.
type network struct {
	web  *fakeweb.Web
	down atomic.Bool
	lost atomic.Int64
}

func newNetwork(t *testing.T) (*network, *clientmeta.Fetcher, *atomic.Int64) {
	n, offset, start := &network{web: fakeweb.Start(t)}, &atomic.Int64{}, time.Now()
	cfg := clientmeta.Config{
		Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return start.Add(time.Duration(offset.Load())) }, Lost: func() { n.lost.Add(1) },
	}
	n.web.Configure(&cfg)
	resolve := cfg.Resolve
	cfg.Resolve = func(ctx context.Context, host string, port uint16) ([]netip.AddrPort, error) {
		if n.down.Load() {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		return resolve(ctx, host, port)
	}
	return n, clientmeta.New(cfg), offset
}

// Without a way out there is none to be told of, until the first connection.
func TestWayOut(t *testing.T) {
	n, f, offset := newNetwork(t)
	if !f.Reachable() {
		t.Error("not reachable before anything was tried")
	}
	n.down.Store(true)
	if err := f.CheckWay(t.Context()); err == nil || !strings.Contains(err.Error(), "no such host") || f.Reachable() {
		t.Errorf("without a way: %v, reachable %v", err, f.Reachable())
	}
	offset.Add(int64(time.Hour))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	n.down.Store(false)
	if err := f.CheckWay(ended); err == nil || f.Reachable() {
		t.Errorf("given up: %v, reachable %v", err, f.Reachable())
	}
	if err := f.CheckWay(t.Context()); err != nil || !f.Reachable() {
		t.Errorf("with one: %v", err)
	}
	// It is enough that somebody answers, whatever it is.
	if n.web.Connections() != 1 {
		t.Errorf("%d connections for one look", n.web.Connections())
	}
	n.down.Store(true)
	_ = f.CheckWay(t.Context())
	n.down.Store(false)
	n.web.JSON(appID, appDocument("App"))
	if _, err := f.Client(t.Context(), appID); err != nil || !f.Reachable() {
		t.Errorf("after a fetch: %v, reachable %v", err, f.Reachable())
	}
}

// A fetch that cannot connect has the way out looked at, but for what strangers choose it
// is done once a minute at most.
func TestLostIsTold(t *testing.T) {
	n, f, offset := newNetwork(t)
	try := func(id string, want int64) {
		t.Helper()
		if _, err := f.Client(t.Context(), id); err == nil {
			t.Fatalf("%s was read", id)
		}
		if got := n.lost.Load(); got != want {
			t.Errorf("%s: told %d times, want %d", id, got, want)
		}
	}
	try("https://app.example/missing.json", 0) // an answer
	n.down.Store(true)
	try("https://app.example/other.json", 1)
	_ = f.CheckWay(t.Context())
	try("https://app.example/third.json", 1)
	offset.Add(int64(time.Minute))
	try("https://app.example/third.json", 2)
	if f.Reachable() {
		t.Error("reachable")
	}
}

// proxy is an HTTP proxy that reaches the web, and notes what it is asked for.
type proxy struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
}

func startProxy(t *testing.T, to netip.AddrPort, refuse *atomic.Bool) *proxy {
	p := &proxy{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.asked = append(p.asked, r.Method+" "+r.Host)
		p.mu.Unlock()
		if refuse.Load() {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		up, err := net.Dial("tcp", to.String())
		if err != nil {
			t.Error(err)
			return
		}
		defer up.Close()
		w.WriteHeader(http.StatusOK)
		down, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer down.Close()
		go func() { _, _ = io.Copy(up, buffered) }()
		_, _ = io.Copy(down, up)
	}))
	t.Cleanup(p.Close)
	return p
}

// Through a proxy all is asked of it, by name; what is not a name of the outside is not.
func TestProxy(t *testing.T) {
	web, refuse := fakeweb.Start(t), &atomic.Bool{}
	p := startProxy(t, web.Address, refuse)
	cfg := clientmeta.Config{Log: slog.New(slog.DiscardHandler)}
	web.Resolve(&cfg) // and the guard is the real one
	cfg.Resolve = func(context.Context, string, uint16) ([]netip.AddrPort, error) {
		return nil, errors.New("nothing is resolved here")
	}
	var err error
	if cfg.Proxy, err = url.Parse(p.URL); err != nil {
		t.Fatal(err)
	}
	f := clientmeta.New(cfg)
	web.JSON(appID, appDocument("App"))
	if c, err := f.Client(t.Context(), appID); err != nil || c.Name != "App" {
		t.Fatalf("%+v, %v", c, err)
	}
	if err := f.CheckWay(t.Context()); err != nil || !f.Reachable() {
		t.Errorf("the way through the proxy: %v", err)
	}
	for _, id := range []string{
		"https://127.0.0.1/c", "https://10.0.0.1/c", "https://[::1]/c", "https://[::ffff:10.0.0.1]/c", "https://169.254.169.254/c", "https://8.8.8.8:8443/c",
		"https://app.example:8443/c", "https://localhost/c", "https://a.localhost/c", "https://intranet/c", "https://intranet./c",
		"https://127.1/c", "https://0x7f.1/c", "https://0177.0.0.1/c", "https://2130706433/c", "https://127.0.0.1./c", "https://./c",
	} {
		if _, err := f.Client(t.Context(), id); err == nil {
			t.Errorf("%s was read", id)
		}
	}
	p.mu.Lock()
	if p.asked[0] != "CONNECT app.example:443" || len(p.asked) != 2 || slices.ContainsFunc(p.asked, func(s string) bool { return !strings.HasSuffix(s, ":443") }) {
		t.Errorf("the proxy was asked for %q", p.asked)
	}
	p.mu.Unlock()
	refuse.Store(true)
	if err := f.CheckWay(t.Context()); err == nil || f.Reachable() {
		t.Errorf("a proxy that refuses: %v", err)
	}
}
