package httpserver

import (
	"io"
	"net"
	"net/http"
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
// request; nothing is cut once its body has come, or when it has none.
func (p pace) bodies(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			b := &slowBody{pace: p, ReadCloser: r.Body, conn: http.NewResponseController(w), start: time.Now()}
			_ = b.conn.SetReadDeadline(b.start.Add(p.patience)) // also for what the handler leaves unread
			r.Body = b
		}
		h.ServeHTTP(w, r)
	})
}

type slowBody struct {
	io.ReadCloser
	pace  pace
	conn  *http.ResponseController
	start time.Time
	n     int64 // bytes read
}

func (b *slowBody) Read(p []byte) (int, error) {
	_ = b.conn.SetReadDeadline(b.start.Add(b.pace.allowed(b.n)))
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	if err == io.EOF {
		// From here the server reads to learn that the client has left, which
		// must not end with the deadline.
		_ = b.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

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
