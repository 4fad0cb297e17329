package measure

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
	"strconv"
	"strings"
	"syscall"
	"time"
)

// patience is how long a response may take.
const patience = 30 * time.Second

// HTTP returns the way over Streamable HTTP (2025-03-26 to 2025-11-25) at an http
// URL, each session on a connection of its own. The token may be empty.
func HTTP(name, endpoint, token string) (Target, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return Target{}, fmt.Errorf("want http://HOST[:PORT]/PATH for %s, got %q", name, endpoint)
	}
	return Target{name, func(ctx context.Context) (Session, time.Duration, error) {
		start := time.Now()
		s, err := dial(ctx, u, token)
		if err != nil {
			return nil, 0, err
		}
		answer, _, err := begin(s)
		took := time.Since(start)
		if err == nil {
			err = s.settle(answer)
		}
		if err != nil {
			return nil, 0, errors.Join(err, s.Close())
		}
		return s, took, nil
	}}, nil
}

// httpSession speaks HTTP/1.1 by hand: net/http's client hands each request to
// two more goroutines, which costs as much as the fastest of the servers take.
type httpSession struct {
	url     *url.URL
	conn    net.Conn
	in      *bufio.Reader
	events  *bufio.Reader // of the event stream at hand
	headers string        // that every request has
	id      string        // Mcp-Session-Id; a server may have none
	next    int
	body    []byte // sent
	out     []byte // sent, with its head
	got     []byte // received
}

func dial(ctx context.Context, u *url.URL, token string) (*httpSession, error) {
	s := &httpSession{url: u, in: bufio.NewReaderSize(nil, 64<<10), events: bufio.NewReaderSize(nil, 64<<10), next: firstID}
	s.headers = "Host: " + u.Host + "\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
	if token != "" {
		s.headers += "Authorization: Bearer " + token + "\r\n"
	}
	return s, s.connect(ctx)
}

// connect opens a connection in place of the one there may have been.
func (s *httpSession) connect(ctx context.Context) (err error) {
	host := s.url.Host
	if s.url.Port() == "" {
		host = net.JoinHostPort(s.url.Hostname(), "80")
	}
	var d net.Dialer
	if s.conn, err = d.DialContext(ctx, "tcp", host); err == nil {
		s.in.Reset(s.conn)
	}
	return err
}

// settle has every later request name the revision that the server chose, and
// tells it that the session may begin.
func (s *httpSession) settle(answer []byte) error {
	var m struct {
		Result struct{ ProtocolVersion string }
	}
	if err := json.Unmarshal(answer, &m); err != nil {
		return err
	}
	s.headers += "MCP-Protocol-Version: " + m.Result.ProtocolVersion + "\r\n"
	return s.Notify(initialized)
}

// Call implements Session.
func (s *httpSession) Call(r request) ([]byte, time.Duration, error) {
	s.next++
	s.body = r.append(s.body[:0], s.next)
	start := time.Now()
	resp, err := s.send(http.MethodPost, s.body)
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
		err = s.readAll(resp.Body)
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

// Notify implements Session.
func (s *httpSession) Notify(method string) error {
	resp, err := s.send(http.MethodPost, fmt.Appendf(nil, `{"jsonrpc":"2.0","method":%q}`, method))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return refused(resp)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// Listen opens the session's stream of what belongs to no request and leaves it
// open, on a connection of its own, until the returned one is closed.
func (s *httpSession) Listen(ctx context.Context) (io.Closer, error) {
	l, err := dial(ctx, s.url, "")
	if err != nil {
		return nil, err
	}
	l.headers = s.headers
	resp, err := l.send(http.MethodGet, nil)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = refused(resp)
	}
	if err != nil {
		return nil, errors.Join(err, l.conn.Close())
	}
	return l.conn, l.conn.SetDeadline(time.Time{})
}

// Close implements Session.
func (s *httpSession) Close() error {
	defer s.conn.Close()
	if s.id == "" {
		return nil
	}
	_, err := s.send(http.MethodDelete, nil)
	return err
}

// send sends one request and reads the head of the answer to it. Where the server
// has closed a connection that was quiet, it opens another.
func (s *httpSession) send(method string, body []byte) (*http.Response, error) {
	resp, err := s.try(method, body)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		s.conn.Close()
		if err = s.connect(context.Background()); err == nil {
			resp, err = s.try(method, body)
		}
	}
	return resp, err
}

func (s *httpSession) try(method string, body []byte) (*http.Response, error) {
	if err := s.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	s.out = append(s.out[:0], method...)
	s.out = append(s.out, ' ')
	s.out = append(s.out, s.url.RequestURI()...)
	s.out = append(s.out, " HTTP/1.1\r\n"...)
	s.out = append(s.out, s.headers...)
	if body != nil {
		s.out = append(s.out, "Content-Length: "...)
		s.out = strconv.AppendInt(s.out, int64(len(body)), 10)
		s.out = append(s.out, "\r\n"...)
	}
	s.out = append(s.out, "\r\n"...)
	s.out = append(s.out, body...)
	if _, err := s.conn.Write(s.out); err != nil {
		return nil, err
	}
	return http.ReadResponse(s.in, nil)
}

func refused(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
	return fmt.Errorf("the server answered %s: %s", resp.Status, bytes.TrimSpace(text))
}

func (s *httpSession) readAll(body io.Reader) error {
	got := bytes.NewBuffer(s.got[:0])
	_, err := got.ReadFrom(body)
	s.got = got.Bytes()
	return err
}

// readEvents reads server-sent events up to the one with the response.
func (s *httpSession) readEvents(body io.Reader) error {
	s.events.Reset(body)
	s.got = s.got[:0]
	for {
		from := len(s.got)
		if err := s.readLine(); err != nil {
			return fmt.Errorf("the stream ended without a response: %w", err)
		}
		line := bytes.TrimRight(s.got[from:], "\r\n")
		data, isData := bytes.CutPrefix(line, []byte("data:"))
		switch {
		case isData:
			s.got = append(s.got[:from], bytes.TrimPrefix(data, []byte(" "))...)
		case len(line) == 0 && answers(s.got[:from], s.next):
			s.got = s.got[:from]
			return nil
		case len(line) == 0: // another message, or none
			s.got = s.got[:0]
		default:
			s.got = s.got[:from]
		}
	}
}

// readLine appends a line of the event stream to what was received.
func (s *httpSession) readLine() error {
	for {
		part, err := s.events.ReadSlice('\n')
		s.got = append(s.got, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}
