package unit_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	launchclient "github.com/fjmcp/fjmcp-broker/internal/launcher/client"
	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// child plays fjmcp-session and a backend, over the sockets of a real unit.
type child struct {
	launchclient.Launcher // the methods that no test comes to
	// answer gives the rest of the response to a request; "" is silence.
	answer func(method string) string

	older bool // fjmcp-session knows of no policy

	mu    sync.Mutex
	heard []string          // lines
	modes []control.Message // of the broker's, in order
	conns []io.Closer
}

func (c *child) Start(_ context.Context, spec launchclient.Spec) error {
	sock, err := net.FileConn(spec.MCP)
	if err != nil {
		return err
	}
	orders, err := control.FromFile(spec.Control)
	if err != nil {
		return err
	}
	m, stdin, ok, err := orders.Waiting()
	if err != nil || !ok || stdin == nil {
		return fmt.Errorf("no standard input came first: %v, %w", m, err)
	}
	c.conns = []io.Closer{stdin, sock, orders}
	go func() {
		for err == nil {
			_ = orders.Send(context.Background(), control.Message{Type: control.TypeAck, ID: m.ID, Key: c.take(m)})
			m, err = orders.Receive(context.Background())
		}
	}()
	go c.serve(stdin, sock)
	return nil
}

// take notes a mode and returns the key of its limits.
func (c *child) take(m control.Message) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.modes = append(c.modes, m)
	if c.older || m.Limits == nil {
		return ""
	}
	l, err := policy.ParseLimits(m.Limits)
	if err != nil {
		l = policy.Nothing
	}
	return l.Key()
}

func (c *child) Stop(context.Context, string) error {
	for _, conn := range c.conns {
		conn.Close()
	}
	return nil
}

func (c *child) serve(stdin io.Reader, stdout io.Writer) {
	for in := bufio.NewScanner(stdin); in.Scan(); {
		m, err := mcp.Parse(in.Bytes())
		if err != nil {
			panic(err)
		}
		c.mu.Lock()
		c.heard = append(c.heard, in.Text())
		c.mu.Unlock()
		if m.Kind != mcp.Request {
			continue
		}
		if answer := c.answer(m.Method); answer != "" {
			_, _ = io.WriteString(stdout, `{"jsonrpc":"2.0","id":`+string(m.ID())+`,`+answer+"}\n")
		}
	}
}

// methods names what the backend was sent, in order.
func (c *child) methods() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []string
	for _, line := range c.heard {
		m, _ := mcp.Parse([]byte(line))
		list = append(list, m.Method)
	}
	return strings.Join(list, " ")
}

// run starts a unit whose backend answers so.
func run(t *testing.T, probe time.Duration, answer func(method string) string) (*unit.Unit, *child) {
	t.Helper()
	return runAs(t, &child{answer: answer}, probe, nil)
}

// runAs starts a unit of c with limits.
func runAs(t *testing.T, c *child, probe time.Duration, limits policy.Limits) (*unit.Unit, *child) {
	t.Helper()
	u, err := unit.New(unit.Config{
		Launcher: c, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		IdleTimeout: time.Hour, StartTimeout: time.Minute, ProbeTimeout: probe,
	}, unit.Spec{Session: "s", UserID: "u", User: "alice", Limits: limits, MaxAge: time.Hour, Ended: func(*unit.Unit) {}})
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Launch(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Stop(context.Background()) })
	return u, c
}

func TestOpen(t *testing.T) {
	const (
		probe     = "server/discover"
		handshake = "server/discover initialize notifications/initialized"
		old       = `"result":{"protocolVersion":"2025-06-18","serverInfo":{"name":"old"},"capabilities":{"logging":{},"resources":{"subscribe":true}},"instructions":"be kind"}`
	)
	for name, tt := range map[string]struct {
		discover, initialize string
		modern               bool
		protocol             string
		revision             string // offered in initialize
		methods              string
		fails                string
	}{
		"modern":                {discover: `"result":{"supportedVersions":["2027-01-01","2026-07-28"],"capabilities":{},"_meta":{}}`, modern: true, protocol: "2026-07-28", methods: probe},
		"modern, picky":         {discover: `"error":{"code":-32021,"message":"m"}`, modern: true, protocol: "2026-07-28", methods: probe},
		"modern, of headers":    {discover: `"error":{"code":-32020,"message":"m"}`, modern: true, protocol: "2026-07-28", methods: probe},
		"later than us":         {discover: `"error":{"code":-32022,"message":"m","data":{"supported":["2027-01-01"]}}`, methods: probe, fails: "protocol"},
		"later, by its result":  {discover: `"result":{"supportedVersions":["2027-01-01"]}`, methods: probe, fails: "protocol"},
		"later, older too":      {discover: `"error":{"code":-32022,"message":"m","data":{"supported":["2025-03-26","2027-01-01","2025-06-18"]}}`, initialize: old, protocol: "2025-06-18", revision: "2025-06-18", methods: handshake},
		"old, no such method":   {discover: `"error":{"code":-32601,"message":"m"}`, initialize: old, protocol: "2025-06-18", revision: "2025-11-25", methods: handshake},
		"old, wants initialize": {discover: `"error":{"code":0,"message":"not initialized"}`, initialize: old, protocol: "2025-06-18", revision: "2025-11-25", methods: handshake},
		"old, answers anything": {discover: `"result":{}`, initialize: old, protocol: "2025-06-18", revision: "2025-11-25", methods: handshake},
		"old, silent":           {initialize: old, protocol: "2025-06-18", revision: "2025-11-25", methods: "server/discover notifications/cancelled initialize notifications/initialized"},
		"old, of no known time": {discover: `"result":{}`, initialize: `"result":{"protocolVersion":"1999-12-31"}`, revision: "2025-11-25", methods: "server/discover initialize", fails: "protocol"},
		"neither":               {discover: `"error":{"code":-32601,"message":"m"}`, initialize: `"error":{"code":-32602,"message":"m"}`, revision: "2025-11-25", methods: "server/discover initialize", fails: "protocol"},
		"modern forgejo-mcp, old": {discover: `"result":{"supportedVersions":["2026-07-28"],"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"Forgejo MCP Server","version":"2.17.9"}}}`,
			methods: probe, fails: "backend_too_old"},
	} {
		t.Run(name, func(t *testing.T) {
			patience := time.Minute
			if tt.discover == "" {
				patience = time.Millisecond
			}
			u, c := run(t, patience, func(method string) string {
				return map[string]string{"server/discover": tt.discover, "initialize": tt.initialize}[method]
			})
			s, err := u.Discover(t.Context())
			var fail *unit.StartError
			if errors.As(err, &fail); (fail == nil) != (tt.fails == "") || fail != nil && string(fail.Reason) != tt.fails {
				t.Fatalf("got %v, want %q", err, tt.fails)
			}
			if err == nil && (s.Modern != tt.modern || s.Protocol != tt.protocol) {
				t.Errorf("modern %v, protocol %q", s.Modern, s.Protocol)
			}
			if tt.initialize == old && (string(s.Info) != `{"name":"old"}` || string(s.Instructions) != `"be kind"` || !s.Supports().Logging || !s.Supports().ResourcesSubscribe || s.Supports().ToolsChanged) {
				t.Errorf("got %+v", s)
			}
			for deadline := time.Now().Add(time.Minute); c.methods() != tt.methods; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("the backend heard %q, want %q", c.methods(), tt.methods)
				}
			}
			if tt.revision != "" {
				c.offered(t, tt.revision)
			}
		})
	}
}

// offered checks the initialize request.
func (c *child) offered(t *testing.T, revision string) {
	t.Helper()
	var got struct {
		Params struct {
			ProtocolVersion string
			Capabilities    json.RawMessage
			ClientInfo      struct{ Name, Version string }
		}
	}
	for _, line := range c.heard {
		if strings.Contains(line, `"initialize"`) {
			if err := json.Unmarshal([]byte(line), &got); err != nil {
				t.Fatal(err)
			}
		}
	}
	const all = `{"elicitation":{"form":{},"url":{}},"roots":{"listChanged":true},"sampling":{"context":{},"tools":{}}}`
	if p := got.Params; p.ProtocolVersion != revision || string(p.Capabilities) != all || p.ClientInfo.Name != "fjmcp-broker" || p.ClientInfo.Version == "" {
		t.Errorf("the backend was offered %+v, capabilities %s", p, p.Capabilities)
	}
}

// stranger is a launcher that has no unit.
type stranger struct {
	launchclient.Launcher
	t *testing.T
}

func (s stranger) Stop(context.Context, string) error {
	s.t.Error("the launcher was asked to stop a unit that it never had")
	return nil
}

func TestDiscardedUnitIsNotStopped(t *testing.T) {
	u, err := unit.New(unit.Config{
		Launcher: stranger{t: t}, Log: slog.New(slog.DiscardHandler), Now: time.Now, IdleTimeout: time.Hour, StartTimeout: time.Minute,
	}, unit.Spec{Session: "s", UserID: "u", User: "alice", MaxAge: time.Hour, Ended: func(*unit.Unit) {}})
	if err != nil {
		t.Fatal(err)
	}
	u.Discard()
	if err := u.AwaitGone(t.Context()); err != nil || u.Failure() != nil {
		t.Errorf("%v, %v", err, u.Failure())
	}
}
