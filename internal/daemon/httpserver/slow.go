package httpserver

import (
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// pace is how slow a peer may be, and how many there may be. Whoever sends or takes a
// byte now and then would hold a connection, and maybe a session, for good.
type pace struct {
	headers  time.Duration // for all of a request's headers
	patience time.Duration // for the first bytes of a body, or what is written at once
	slowest  int64         // bytes per second, beyond that
	linger   time.Duration // at shutdown, for a kept connection's next request
	most     int           // connections of each listener; more wait in the socket's queue
}

// The unit's MemoryMax= has room for so many connections, each with the largest headers
// that are taken: 110 KB of memory, or 16 KB without any.
var usual = pace{headers: 10 * time.Second, patience: 30 * time.Second, slowest: 16 << 10, linger: time.Second, most: 8192}

// allowed is how long n bytes may take.
func (p pace) allowed(n int64) time.Duration {
	return p.patience + time.Duration(float64(n)/float64(p.slowest)*float64(time.Second))
}

// bodies cuts requests whose bodies come too slowly. The time counts from the
// request; nothing is cut once its body has come, or when it has none. A handler that
// answers without the body does not wait for it.
func (p pace) bodies(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body == nil || r.Body == http.NoBody {
			h.ServeHTTP(w, r)
			return
		}
		b := &slowBody{pace: p, ReadCloser: r.Body, conn: http.NewResponseController(w), start: time.Now(), continues: r.Header.Get("Expect") != ""}
		_ = b.conn.SetReadDeadline(b.start.Add(p.patience)) // also for what the handler leaves unread
		r = r.WithContext(r.Context())                      // net/http keeps the one that it made, by whose body it knows of Expect
		r.Body = b
		h.ServeHTTP(answering{w, b}, r)
		b.forgo(w)
	})
}

type slowBody struct {
	io.ReadCloser
	pace      pace
	conn      *http.ResponseController
	start     time.Time
	continues bool  // the client waits for leave to send it
	n         int64 // bytes read
	over      bool  // nothing more is to be read
}

func (b *slowBody) Read(p []byte) (int, error) {
	b.continues = false
	_ = b.conn.SetReadDeadline(b.start.Add(b.pace.allowed(b.n)))
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	if err == io.EOF {
		b.whole()
	}
	return n, err
}

// whole notes that all has come: from here the server reads to learn that the client has
// left, which must not end with the deadline.
func (b *slowBody) whole() {
	b.over = true
	_ = b.conn.SetReadDeadline(time.Time{})
}

const (
	remainder = 100 * time.Millisecond // what is left of a body that nobody reads may take so long
	unread    = 256 << 10              // bytes of it that are thrown away
)

// forgo is called before the answer. Where net/http would wait for the rest of the body, it
// takes what is there already and else has the connection closed after the answer: the
// client is to know it at once (RFC 9110 §10.1.1, §9.3), and nothing that follows is taken for
// a request. A client that waits for leave to send the body sends none.
func (b *slowBody) forgo(w http.ResponseWriter) {
	if b.over {
		return
	}
	b.over = true
	rest := remainder
	if b.continues {
		rest = 0
	}
	_ = b.conn.SetReadDeadline(time.Now().Add(rest)) // also for what net/http reads at the end
	if !b.continues {
		if _, err := io.CopyN(io.Discard, b.ReadCloser, unread); err == io.EOF {
			b.whole()
			return
		}
	}
	// This has net/http close the connection, and only when the client had time to read.
	_, _ = http.MaxBytesReader(w, io.NopCloser(strings.NewReader(" ")), 0).Read(make([]byte, 1))
}

// answering is the answer to a request with a body.
type answering struct {
	http.ResponseWriter
	body *slowBody
}

func (a answering) WriteHeader(status int) {
	a.body.forgo(a.ResponseWriter)
	a.ResponseWriter.WriteHeader(status)
}

func (a answering) Write(p []byte) (int, error) {
	a.body.forgo(a.ResponseWriter)
	return a.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (a answering) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// slowListener cuts connections whose peer takes what is written too slowly.
// Quiet ones are left alone, since event streams are.
type slowListener struct {
	net.Listener
	pace pace
}

func (l slowListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return slowConn{c, l.pace}, nil
}

type slowConn struct {
	net.Conn
	pace pace
}

func (c slowConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.pace.allowed(int64(len(p))))); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// CloseWrite lets net/http send its last answer before it closes a connection.
func (c slowConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
