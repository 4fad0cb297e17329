package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

// patience is how long a response may take.
const patience = time.Minute

// endpoint is a server that speaks Streamable HTTP (2025-03-26 to 2025-11-25).
type endpoint struct {
	url   *url.URL
	token string // may be empty
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
}

// newEndpoint reads an http URL.
func newEndpoint(address string) (endpoint, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return endpoint{}, fmt.Errorf("want http://HOST[:PORT]/PATH, got %q", address)
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), "80")
	}
	return endpoint{url: u, dial: new(net.Dialer).DialContext}, nil
}

// logIn goes a client's whole way once, for a user of the fake forge, but for a session.
func logIn(ctx context.Context, address, user string, transport *http.Transport) (endpoint, error) {
	client, err := loginclient.Login(ctx, loginclient.Config{
		MCPURL: address, Transport: transport, Browser: loginclient.NewBrowser(transport, user, user+"-password"),
	})
	if err != nil {
		return endpoint{}, err
	}
	e, err := newEndpoint(address)
	if err != nil {
		return e, err
	}
	e.dial = transport.DialContext
	e.token, err = client.AccessToken(ctx)
	return e, err
}

// target is the way to the server with a connection for each session.
func (e endpoint) target(name string) target {
	return target{name, func(ctx context.Context) (session, time.Duration, error) {
		began := time.Now()
		w, err := e.connect(ctx)
		if err != nil {
			return nil, 0, err
		}
		toConnect := time.Since(began)
		s, took, err := w.begin()
		if err != nil {
			return nil, 0, errors.Join(err, s.Close())
		}
		return s, toConnect + took, nil
	}}
}

// live begins n sessions that stay, on connections that do not, and makes the requests
// in each.
func (e endpoint) live(ctx context.Context, n int, requests ...request) ([]*httpSession, error) {
	sessions := make([]*httpSession, n)
	err := atOnce(n, openAtOnce, func(i int) error {
		w, err := e.connect(ctx)
		if err != nil {
			return err
		}
		defer func() { w.conn.Close() }()
		sessions[i], _, err = w.begin()
		for _, r := range requests {
			if err == nil {
				_, _, err = checked(sessions[i], r)
			}
		}
		return err
	})
	return sessions, err
}

// wire is one connection. It speaks HTTP/1.1 by hand: net/http's client hands each
// request to two more goroutines, which costs as much as the fastest of the servers
// take.
type wire struct {
	endpoint
	conn   net.Conn
	in     *bufio.Reader
	events *bufio.Reader // of the event stream at hand
	out    []byte        // sent
}

func (e endpoint) connect(ctx context.Context) (*wire, error) {
	w := &wire{endpoint: e, in: bufio.NewReaderSize(nil, 16<<10), events: bufio.NewReaderSize(nil, 16<<10)}
	return w, w.reconnect(ctx)
}

// reconnect opens a connection in place of the one there may have been.
func (w *wire) reconnect(ctx context.Context) (err error) {
	if w.conn, err = w.dial(ctx, "tcp", w.url.Host); err == nil {
		w.in.Reset(w.conn)
	}
	return err
}

// send sends one request and reads the head of the answer to it. Where the connection
// has been closed, by the server because it was quiet or by hand, it opens another.
func (w *wire) send(method, headers string, body []byte) (*http.Response, error) {
	resp, err := w.try(method, headers, body)
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		w.conn.Close()
		if err = w.reconnect(context.Background()); err == nil {
			resp, err = w.try(method, headers, body)
		}
	}
	return resp, err
}

func (w *wire) try(method, headers string, body []byte) (*http.Response, error) {
	if err := w.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	w.out = fmt.Appendf(w.out[:0], "%s %s HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s", method, w.url.RequestURI(), headers, len(body), body)
	if _, err := w.conn.Write(w.out); err != nil {
		return nil, err
	}
	return http.ReadResponse(w.in, nil)
}

// httpSession is a session over a wire, which others may use too.
type httpSession struct {
	*wire
	headers string // that every request has
	id      string // Mcp-Session-Id; a server may have none
	next    int
	body    []byte // sent
	got     []byte // received
}

// begin begins a session and tells how long the answer to initialize took. From then on
// every request names the revision that the server chose.
func (w *wire) begin() (*httpSession, time.Duration, error) {
	s := &httpSession{wire: w, next: firstID}
	s.headers = "Host: " + w.url.Host + "\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
	if w.token != "" {
		s.headers += "Authorization: Bearer " + w.token + "\r\n"
	}
	answer, took, err := checked(s, initialize)
	if err != nil {
		return s, 0, err
	}
	var m struct {
		Result struct{ ProtocolVersion string }
	}
	if err := json.Unmarshal(answer, &m); err != nil {
		return s, 0, err
	}
	s.headers += "MCP-Protocol-Version: " + m.Result.ProtocolVersion + "\r\n"
	return s, took, s.tell(http.MethodPost, initialized)
}

// once begins a session and ends it. Only the beginning counts.
func (w *wire) once() (time.Duration, error) {
	s, took, err := w.begin()
	if err != nil {
		return 0, err
	}
	return took, s.tell(http.MethodDelete, "")
}

// Call implements session.
func (s *httpSession) Call(r request) ([]byte, time.Duration, error) {
	s.next++
	s.body = r.append(s.body[:0], s.next)
	start := time.Now()
	resp, err := s.send(http.MethodPost, s.headers, s.body)
	if err != nil {
		return nil, 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, 0, refused(resp)
	}
	if id := resp.Header.Get("Mcp-Session-Id"); id != "" && s.id == "" {
		s.id = id
		s.headers += "Mcp-Session-Id: " + id + "\r\n"
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		err = s.readEvents(resp.Body)
	} else {
		got := bytes.NewBuffer(s.got[:0])
		_, err = got.ReadFrom(resp.Body)
		s.got = got.Bytes()
	}
	took := time.Since(start)
	if err == nil && !answers(s.got, s.next) {
		err = fmt.Errorf("this answers no request: %.200s", s.got)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body) // what ends a stream is no part of the response
	}
	return s.got, took, err
}

// tell sends what has no response.
func (s *httpSession) tell(method, body string) error {
	resp, err := s.send(method, s.headers, []byte(body))
	if err == nil && resp.StatusCode >= 300 {
		err = refused(resp)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
	}
	return err
}

// Close implements session. A server need not know DELETE.
func (s *httpSession) Close() error {
	defer s.conn.Close()
	if s.id == "" {
		return nil
	}
	_, err := s.send(http.MethodDelete, s.headers, nil)
	return err
}

// listen opens the session's stream of what belongs to no request and leaves it
// open, on a connection of its own, until the returned one is closed.
func (s *httpSession) listen(ctx context.Context) (io.Closer, error) {
	w, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := w.send(http.MethodGet, s.headers, nil)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = refused(resp)
	}
	if err != nil {
		return nil, errors.Join(err, w.conn.Close())
	}
	return w.conn, w.conn.SetDeadline(time.Time{})
}

func refused(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
	return fmt.Errorf("the server answered %s: %s", resp.Status, bytes.TrimSpace(text))
}

// readEvents reads server-sent events up to the one with the response.
func (s *httpSession) readEvents(body io.Reader) (err error) {
	s.events.Reset(body)
	s.got = s.got[:0]
	for {
		from := len(s.got)
		if s.got, err = readLine(s.events, s.got); err != nil {
			return fmt.Errorf("the stream ended without a response: %w", err)
		}
		line := bytes.TrimRight(s.got[from:], "\r\n")
		data, isData := bytes.CutPrefix(line, []byte("data:"))
		s.got = append(s.got[:from], bytes.TrimPrefix(data, []byte(" "))...)
		if !isData {
			s.got = s.got[:from]
		}
		if len(line) == 0 {
			if answers(s.got, s.next) {
				return nil
			}
			s.got = s.got[:0] // another message, or none
		}
	}
}

// readLine appends a line, its end included.
func readLine(in *bufio.Reader, to []byte) ([]byte, error) {
	for {
		part, err := in.ReadSlice('\n')
		to = append(to, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return to, err
		}
	}
}
