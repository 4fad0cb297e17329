package starts

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Initialize is what all are asked first.
const Initialize = `{"jsonrpc":"2.0","id":1000000001,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"fjmcp-bench","version":"1"}}}`

const (
	initialized = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
	ping        = `{"jsonrpc":"2.0","id":1000000001,"method":"ping"}`
)

// patience is how long a response may take.
const patience = time.Minute

// client is one connection to the broker, with the headers that each request has. It
// carries one request at a time.
type client struct {
	conn  net.Conn
	in    *bufio.Reader
	token string
}

func dial(ctx context.Context, s *system, token string) (*client, error) {
	conn, err := s.C.DialContext(ctx, "tcp", brokerAddress)
	if err != nil {
		return nil, err
	}
	return &client{conn, bufio.NewReaderSize(conn, 64<<10), token}, nil
}

func (c *client) close() { c.conn.Close() }

// answer is a response, and how long it took to come.
type answer struct {
	status  int
	session string // Mcp-Session-Id
	body    []byte
	took    time.Duration
}

// send makes one request. The session may be "".
func (c *client) send(method, session, body string) (a answer, err error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s /mcp HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nAuthorization: Bearer %s\r\n", method, brokerAddress, c.token)
	if session != "" {
		fmt.Fprintf(&b, "MCP-Protocol-Version: 2025-11-25\r\nMcp-Session-Id: %s\r\n", session)
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return a, err
	}
	began := time.Now()
	if _, err := io.WriteString(c.conn, b.String()); err != nil {
		return a, err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	a.body, err = io.ReadAll(resp.Body)
	a.took, a.status, a.session = time.Since(began), resp.StatusCode, resp.Header.Get("Mcp-Session-Id")
	return a, err
}

// request makes a request that is to have a result.
func (c *client) request(session, body string) (answer, error) {
	a, err := c.send(http.MethodPost, session, body)
	if err == nil && (a.status != http.StatusOK || !bytes.Contains(a.body, []byte(`"result":`))) {
		err = fmt.Errorf("the broker answered %d: %.300s", a.status, a.body)
	}
	return a, err
}

// open begins a session and tells how long the answer to initialize took.
func (c *client) open() (session string, took time.Duration, err error) {
	a, err := c.request("", Initialize)
	if err != nil {
		return "", 0, err
	}
	if a.session == "" {
		return "", 0, errors.New("the broker named no session")
	}
	n, err := c.send(http.MethodPost, a.session, initialized)
	if err == nil && n.status != http.StatusAccepted {
		err = fmt.Errorf("the broker answered a notification with %d: %.300s", n.status, n.body)
	}
	return a.session, a.took, err
}

// end ends a session.
func (c *client) end(session string) error {
	a, err := c.send(http.MethodDelete, session, "")
	if err == nil && a.status/100 != 2 {
		err = fmt.Errorf("the broker answered DELETE with %d: %.300s", a.status, a.body)
	}
	return err
}
