package httpserver

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/testlog"
)

var discard = slog.New(slog.NewTextHandler(io.Discard, nil))

func listen(t *testing.T) (net.Listener, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l, "http://" + l.Addr().String()
}

func TestRefuseAnswersWaitingConnections(t *testing.T) {
	l, url := listen(t)
	got := make(chan *http.Response, 3)
	for range 3 {
		go func() {
			resp, err := http.Get(url)
			if err != nil {
				t.Error(err)
			}
			got <- resp
		}()
	}
	Refuse(t.Context(), []net.Listener{l}, Unavailable("cannot start"), discard)
	for range 3 {
		resp := <-got
		if resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("got %v, want 503", resp)
		}
	}
}

// Who asks once a second is answered by one process, which ends when nobody asks.
func TestRefuseOutlastsMonitoring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &pipes{conns: make(chan net.Conn)}
		began, over := time.Now(), make(chan struct{})
		go func() {
			defer close(over)
			Refuse(t.Context(), []net.Listener{l}, Unavailable("cannot start"), discard)
		}()
		const polls = 10
		for range polls {
			time.Sleep(time.Second)
			conn, served := net.Pipe()
			l.conns <- served
			resp := ask(t, conn)
			if resp.StatusCode != http.StatusServiceUnavailable {
				t.Fatalf("got %s", resp.Status)
			}
		}
		<-over
		if took := time.Since(began); took < polls*time.Second || took > wholeWait {
			t.Errorf("it ended after %v", took)
		}
	})
}

// pipes is a listener of connections in memory.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	if c, ok := <-p.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.conns) }); return nil }

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// ask sends one request and reads the answer to its end.
func ask(t *testing.T, conn net.Conn) *http.Response {
	t.Helper()
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp
}

// Where no socket was inherited nobody waits, so nobody is waited for.
func TestRefuseWithoutListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		Refuse(t.Context(), nil, Unavailable("cannot start"), discard)
		if took := time.Since(start); took != 0 {
			t.Errorf("it waited %s to refuse nobody", took)
		}
	})
}

// A request in flight at shutdown is answered.
func TestServeDrains(t *testing.T) {
	l, url := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		cancel()
		<-ctx.Done()
		_, _ = io.WriteString(w, "done")
	})
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, []net.Listener{l}, handler, nil, discard) }()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(resp.Body); string(b) != "done" {
		t.Fatalf("got %q", b)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
}

// A client that sends its next request on a kept connection just as the server
// shuts down gets an answer, and is told to use another connection.
func TestServeDrainsKeptConnections(t *testing.T) {
	l, url := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	draining := make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") })
	served := make(chan error, 1)
	patient := usual
	patient.linger = DrainTimeout
	go func() {
		served <- serve(ctx, []net.Listener{l}, handler, func() { close(draining) }, discard, patient)
	}()
	client := &http.Client{Transport: &http.Transport{}}
	get := func() *http.Response {
		resp, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(resp.Body); string(b) != "served" {
			t.Fatalf("got %q, %v", b, err)
		}
		return resp
	}
	if get().Close {
		t.Error("told to close before the drain")
	}
	cancel()
	<-draining
	if !get().Close { // on the kept connection: nobody accepts another
		t.Error("not told to close in the drain")
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
}

// sluggish is a listener whose Accept notices late that it was closed: upon the second
// time, or, as the first is right, after a moment.
type sluggish struct {
	net.Listener
	closed    atomic.Int32
	accepting chan struct{} // gets a value when Accept is called
	again     chan struct{}
}

func (l *sluggish) Accept() (net.Conn, error) {
	l.accepting <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		select {
		case <-l.again:
		case <-time.After(20 * time.Millisecond):
		}
	}
	return c, err
}

func (l *sluggish) Close() error {
	if l.closed.Add(1) == 2 {
		close(l.again)
	}
	return l.Listener.Close()
}

// A server without requests ends without an error and without a word, however late the
// listeners notice.
func TestServeEndsQuietly(t *testing.T) {
	accepting := make(chan struct{})
	var listeners []net.Listener
	for range 3 {
		l, _ := listen(t)
		listeners = append(listeners, &sluggish{Listener: l, accepting: accepting, again: make(chan struct{})})
	}
	log := &testlog.Buffer{}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for range listeners {
			<-accepting
		}
		cancel()
	}()
	if err := Serve(ctx, listeners, http.NotFoundHandler(), nil, slog.New(slog.NewTextHandler(log, nil))); err != nil || log.String() != "" {
		t.Errorf("it ended with %v and said: %s", err, log)
	}
}
