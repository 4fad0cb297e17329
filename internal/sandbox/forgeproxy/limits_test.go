package forgeproxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/netutil"
)

// Whatever a backend begins, the forge and the egress have a few of its requests.
func TestRequestsInFlight(t *testing.T) {
	const all = 480
	var now, most, connections atomic.Int32
	full, release := make(chan struct{}), make(chan struct{})
	p := newProxy(t, "", "t", func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == maxRequests {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		<-release
	}, nil)
	dial := p.forward.Transport.(*upstream).base.(*http.Transport)
	plain := dial.DialContext
	dial.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		connections.Add(1)
		return plain(ctx, network, addr)
	}
	statuses := make(chan string, all)
	for range all {
		go func() {
			c, err := net.Dial("tcp", p.addr)
			if err != nil {
				statuses <- err.Error()
				return
			}
			defer c.Close()
			fmt.Fprintf(c, "GET http://%s/git/api/v1/user HTTP/1.1\r\nHost: %[1]s\r\nProxy-Authorization: %[2]s\r\nConnection: close\r\n\r\n", p.origin.url.Host, p.authorization())
			status, _ := bufio.NewReader(c).ReadString('\n')
			statuses <- status
		}()
	}
	<-full
	if n := connections.Load(); n > maxRequests {
		t.Errorf("%d connections to the forge, want at most %d", n, maxRequests)
	}
	close(release)
	for range all {
		if s := <-statuses; !strings.HasPrefix(s, "HTTP/1.1 200") {
			t.Fatalf("got %q", s)
		}
	}
	if most.Load() != maxRequests {
		t.Errorf("%d requests at once, want %d", most.Load(), maxRequests)
	}
}

// Eight sessions that begin all they can leave room on the way that they share.
func TestOthersGetThrough(t *testing.T) {
	const room, hostile, each = 100, 8, 480 // in place of the egress's
	full, held := make(chan struct{}), atomic.Int32{}
	release := make(chan struct{})
	forge := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/version" {
			return
		}
		if held.Add(1) == hostile*maxRequests {
			close(full)
		}
		<-release
	})}
	egress := filepath.Join(t.TempDir(), "egress.sock")
	l, err := net.Listen("unix", egress)
	if err != nil {
		t.Fatal(err)
	}
	go forge.Serve(netutil.LimitListener(l, room))
	defer forge.Close()
	defer close(release)
	session := func() *Proxy {
		p, err := New(Config{Forge: &url.URL{Scheme: "http", Host: "forge.test"}, Egress: egress, Token: "t", Log: slog.New(slog.DiscardHandler), Forbidden: func(context.Context) {}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		return p
	}
	for range hostile {
		p := session()
		for range each {
			go func() {
				if c, err := net.Dial("tcp", p.addr); err == nil {
					fmt.Fprintf(c, "GET http://forge.test/api/v1/user HTTP/1.1\r\nHost: forge.test\r\nProxy-Authorization: %s\r\n\r\n", p.authorization())
					<-release
					c.Close()
				}
			}()
		}
	}
	<-full
	at, _ := url.Parse(session().URL())
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(at), DisableKeepAlives: true}}
	resp, err := client.Get("http://forge.test/api/v1/version")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("got %v, %v", resp, err)
	}
	resp.Body.Close()
	if n := held.Load(); n != hostile*maxRequests {
		t.Errorf("the forge has %d requests of the others, want %d", n, hostile*maxRequests)
	}
}

func TestConnectionsOfABackend(t *testing.T) {
	var reached atomic.Int32
	p := newProxy(t, "", "t", func(http.ResponseWriter, *http.Request) { reached.Add(1) }, nil)
	var open []*bufio.ReadWriter
	ask := func(c *bufio.ReadWriter) {
		fmt.Fprintf(c, "GET http://%s/git/api/v1/user HTTP/1.1\r\nHost: %[1]s\r\nProxy-Authorization: %[2]s\r\n\r\n", p.origin.url.Host, p.authorization())
		c.Flush()
	}
	answered := func(c *bufio.ReadWriter) {
		resp, err := http.ReadResponse(c.Reader, nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("got %v, %v", resp, err)
		}
	}
	var first net.Conn
	for range maxConnections + 1 {
		c, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if first == nil {
			first = c
		}
		open = append(open, bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c)))
		ask(open[len(open)-1])
		if len(open) <= maxConnections {
			answered(open[len(open)-1])
		}
	}
	const more = 100 // while which the last would be served, were it accepted
	for range more {
		ask(open[1])
		answered(open[1])
	}
	if n := reached.Load(); n != maxConnections+more {
		t.Errorf("%d requests came through, want %d", n, maxConnections+more)
	}
	first.Close() // makes room
	answered(open[maxConnections])
}

func TestSlowBodiesEnd(t *testing.T) {
	for name, body := range map[string]timedBody{"pause": {pause: time.Millisecond, end: time.Now().Add(time.Hour)}, "whole": {pause: time.Hour}} {
		failed := make(chan error, 1)
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body.ReadCloser, body.control = r.Body, http.NewResponseController(w)
			_, err := io.ReadAll(&body)
			failed <- err
		}))
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
		if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: got %v", name, err)
		}
		c.Close()
		s.Close()
	}
}
