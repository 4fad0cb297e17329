package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

// cutting is a network that breaks every event stream which answers a POST.
type cutting struct {
	next         http.RoundTripper
	cut, resumed atomic.Int32
}

func (c *cutting) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Last-Event-ID") != "" {
		c.resumed.Add(1)
	}
	resp, err := c.next.RoundTrip(r)
	if err == nil && r.Method == http.MethodPost && resp.Header.Get("Content-Type") == "text/event-stream" {
		c.cut.Add(1)
		resp.Body = &cutBody{resp.Body, 2}
	}
	return resp, err
}

// cutBody is a body that breaks after some events.
type cutBody struct {
	io.ReadCloser
	events int // left
}

func (b *cutBody) Read(p []byte) (int, error) {
	if b.events == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.ReadCloser.Read(p)
	for from := 0; ; {
		end := bytes.Index(p[from:n], []byte("\n\n"))
		if end < 0 {
			return n, err
		}
		from += end + 2
		if b.events--; b.events == 0 {
			return from, nil
		}
	}
}

// One broker serves a client of 2024-11-05 over HTTP+SSE, one of 2025-06-18 whose
// connections break, and one of 2026-07-28, each of which calls tools in a unit of
// its own.
func TestThreeErasAtOnce(t *testing.T) {
	w := start(t, "standin")
	network := &cutting{next: w.transport}
	browser := func(user string) *loginclient.Browser {
		return loginclient.NewBrowser(w.transport, user, user+"-password")
	}
	clients := map[string]*loginclient.Client{}
	var err error
	for version, config := range map[string]loginclient.Config{
		"2024-11-05": {MCPURL: w.url + "/sse", Transport: w.transport, Browser: browser("alice")},
		"2025-06-18": {MCPURL: w.url + "/mcp", Transport: network, Browser: browser("alice")},
		"2026-07-28": {MCPURL: w.url + "/mcp", Transport: w.transport, Browser: browser("bob")},
	} {
		var progress atomic.Int32
		config.Protocol = version
		config.Options = &mcp.ClientOptions{ProgressNotificationHandler: func(context.Context, *mcp.ProgressNotificationClientRequest) { progress.Add(1) }}
		connect := loginclient.Connect
		if version == "2024-11-05" {
			connect = loginclient.ConnectSSE
		}
		if clients[version], err = connect(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		if got := clients[version].InitializeResult().ProtocolVersion; got != version {
			t.Errorf("%s was negotiated as %s", version, got)
		}
		t.Cleanup(func() {
			if progress.Load() == 0 {
				t.Errorf("%s saw no progress", version)
			}
			clients[version].Close()
		})
	}
	users := map[string]string{"2024-11-05": "alice", "2025-06-18": "alice", "2026-07-28": "bob"}
	var mu sync.Mutex
	pids := map[int]string{}
	var together sync.WaitGroup
	for version, c := range clients {
		together.Go(func() {
			for i := range 3 {
				pid, err := w.someCalls(c, users[version])
				if err != nil {
					t.Errorf("%s, round %d: %v", version, i, err)
					return
				}
				mu.Lock()
				if other := pids[pid]; other != "" && other != version {
					t.Errorf("%s shares its unit with %s", version, other)
				}
				pids[pid] = version
				mu.Unlock()
			}
		})
	}
	together.Wait()
	if len(pids) != len(clients) {
		t.Errorf("%d units for %d clients: %v", len(pids), len(clients), pids)
	}
	if cut, resumed := network.cut.Load(), network.resumed.Load(); cut < 3 || resumed < 3 {
		t.Errorf("%d streams were cut, %d resumed", cut, resumed)
	}
}

// someCalls makes a call that is quick, one with progress and one that tells the
// process it ran in.
func (w *world) someCalls(c *loginclient.Client, user string) (pid int, err error) {
	ctx := w.t.Context()
	if got, err := call(ctx, c, "get_my_user_info", nil); err != nil || !strings.Contains(got, `"login":"`+user+`"`) {
		return 0, fmt.Errorf("get_my_user_info gave %q, %w", got, err)
	}
	r, err := c.CallTool(ctx, &mcp.CallToolParams{Meta: mcp.Meta{"progressToken": "p"}, Name: "slow", Arguments: map[string]any{"ms": 300, "steps": 10}})
	if err != nil || r.IsError {
		return 0, fmt.Errorf("slow gave %+v, %w", r, err)
	}
	return w.pid(c)
}

// pid is the process that a client's calls run in.
func (w *world) pid(c *loginclient.Client) (int, error) {
	report, err := call(w.t.Context(), c, "probe", nil)
	if err != nil {
		return 0, err
	}
	var probe struct{ PID int }
	err = json.Unmarshal([]byte(report), &probe)
	return probe.PID, err
}
