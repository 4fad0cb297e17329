package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

const brokerUnit = "fjmcp-broker.service"

// stored wants three kept descriptors for each unit that runs, and no unit beside.
func stored(t *testing.T, s *System, running int) {
	t.Helper()
	await(t, fmt.Sprintf("%d units and three times as many descriptors", running), func() bool {
		n, err := s.Property(t.Context(), brokerUnit, "NFileDescriptorStore")
		must(t, err)
		return n == strconv.Itoa(3*running) && len(units(t, s)) == running
	})
}

// restart has the broker restarted in an orderly way.
func restart(t *testing.T, s *System) {
	t.Helper()
	before := mainPID(t, s)
	run(t, s, "systemctl", "restart", brokerUnit)
	if now := mainPID(t, s); now == before || now == "0" {
		t.Fatalf("the broker's pid was %s and is %s", before, now)
	}
}

// kill has the broker killed and waits for the next.
func kill(t *testing.T, s *System) {
	t.Helper()
	before := mainPID(t, s)
	run(t, s, "kill", "-9", before)
	await(t, "the next broker runs", func() bool {
		state, err := s.Property(t.Context(), brokerUnit, "ActiveState")
		must(t, err)
		now := mainPID(t, s)
		return state == "active" && now != before && now != "0"
	})
}

func mainPID(t *testing.T, s *System) string {
	t.Helper()
	pid, err := s.Property(t.Context(), brokerUnit, "MainPID")
	must(t, err)
	return pid
}

// bare is a client that sees events and connections.
type bare struct {
	t       *testing.T
	s       *System
	token   string
	session string
}

// bareClient begins a session beside c's, with c's token.
func bareClient(t *testing.T, s *System, c *loginclient.Client) *bare {
	t.Helper()
	token, err := c.AccessToken(t.Context())
	must(t, err)
	b := &bare{t: t, s: s, token: token}
	resp := b.must("POST", "", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bare","version":"1"}}}`)
	resp.Body.Close()
	if b.session = resp.Header.Get("Mcp-Session-Id"); b.session == "" {
		t.Fatalf("no session, status %d", resp.StatusCode)
	}
	resp = b.must("POST", "", `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	resp.Body.Close()
	return b
}

func (b *bare) do(method, last, body string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(b.t.Context(), method, PublicURL+"/mcp", bytes.NewReader([]byte(body)))
	must(b.t, err)
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		"Authorization": "Bearer " + b.token, "Mcp-Session-Id": b.session, "Last-Event-ID": last,
	} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	return (&http.Client{Transport: b.s.Transport()}).Do(r)
}

func (b *bare) must(method, last, body string) *http.Response {
	b.t.Helper()
	resp, err := b.do(method, last, body)
	must(b.t, err)
	return resp
}

// slow begins a call that takes ms in the given steps of progress.
func (b *bare) slow(id, ms, steps int) *http.Response {
	b.t.Helper()
	return b.must("POST", "", fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"slow","arguments":{"ms":%d,"steps":%d},"_meta":{"progressToken":"p"}}}`, id, ms, steps))
}

// events reads a stream to its end, clean or not, or until enough says so.
func events(resp *http.Response, enough func(lastID, data string) bool) (lastID string, data []string) {
	defer resp.Body.Close()
	in := bufio.NewScanner(resp.Body)
	for in.Scan() {
		name, value, _ := strings.Cut(in.Text(), ": ")
		switch name {
		case "id":
			lastID = value
		case "data":
			data = append(data, value)
		default:
			continue
		}
		if enough != nil && enough(lastID, value) {
			break
		}
	}
	return lastID, slices.DeleteFunc(data, func(d string) bool { return d == "" })
}

// progress ends the reading of a stream at its first message.
func progress(_, data string) bool { return strings.Contains(data, "notifications/progress") }

// A session with a history goes on in its unit, whatever ends the broker.
func TestE2ERestart(t *testing.T) {
	s := enabled(t, standin(t), nil)
	var listens atomic.Int64
	log := logWhileRunning(t)
	alice, err := s.Connect(t.Context(), "alice", func(step string) {
		log(step)
		if strings.HasPrefix(step, "client: GET "+PublicURL+"/mcp → 200") {
			listens.Add(1)
		}
	})
	must(t, err)
	useTools(t, alice, "alice")
	b := bareClient(t, s, alice)
	stored(t, s, 2)
	before, id := units(t, s), alice.ID()

	t.Run("orderly", func(t *testing.T) {
		// The client leaves a call after its first progress.
		last, _ := events(b.slow(1, 500, 2), progress)
		restart(t, s)
		useTools(t, alice, "alice")
		if _, data := events(b.must("GET", last, ""), nil); len(data) != 2 || !strings.Contains(data[1], "waited 500 ms") {
			t.Errorf("the rest of the stream: %q", data)
		}
	})
	t.Run("killed", func(t *testing.T) {
		begun := b.slow(2, 20_000, 100)
		lost := make(chan string, 1)
		go func() {
			last, data := events(begun, nil)
			if strings.Contains(strings.Join(data, ""), `"id":2`) {
				t.Errorf("a call in flight at a kill was answered: %q", data)
			}
			lost <- last
		}()
		kill(t, s)
		// Who comes back for it is told, else it would wait for ever.
		if _, data := events(b.must("GET", <-lost, ""), nil); len(data) != 1 || !strings.Contains(data[0], `"id":2,"error"`) {
			t.Errorf("a call lost at a kill: %q", data)
		}
		useTools(t, alice, "alice")
		if status := post(t, s, b.token, b.session); status != http.StatusOK {
			t.Errorf("the other session answers %d", status)
		}
	})
	t.Run("often", func(t *testing.T) {
		// The client's stream at GET ends each time. The Go SDK gives up when that
		// happens more than five times and the stream has said nothing.
		for range 7 {
			before := listens.Load()
			kill(t, s)
			await(t, "the client listens again", func() bool { return listens.Load() > before })
		}
		useTools(t, alice, "alice")
	})
	if now := units(t, s); !slices.Equal(before, now) {
		t.Errorf("the units were %+v and are %+v", before, now)
	}
	if alice.ID() != id {
		t.Error("the client has another session")
	}
	stored(t, s, 2)
	must(t, alice.Close())
	stored(t, s, 1)
	b.must("DELETE", "", "").Body.Close()
	stored(t, s, 0)
}

// A call that takes longer than the broker waits for is carried on by the next: its
// client's stream ends, and the client comes back for the rest.
func TestE2ERestartDuringALongCall(t *testing.T) {
	s := enabled(t, standin(t), nil)
	b := bareClient(t, s, connect(t, s, "alice"))
	before := units(t, s)
	begun := b.slow(1, 40_000, 40)
	restarted := make(chan struct{})
	go func() {
		defer close(restarted)
		restart(t, s)
	}()
	last, data := events(begun, nil) // ends with the drain
	<-restarted
	_, rest := events(b.must("GET", last, ""), nil)
	all := strings.Join(append(data, rest...), "\n")
	if n := strings.Count(all, "waited 40000 ms"); n != 1 || len(rest) == 0 || !strings.Contains(rest[len(rest)-1], `"id":1`) {
		t.Errorf("answered %d times; after %q came %q", n, last, rest)
	}
	if n := strings.Count(all, "notifications/progress"); n != 40 {
		t.Errorf("told of %d steps of 40", n)
	}
	if now := units(t, s); !slices.Equal(before, now) {
		t.Errorf("the units were %+v and are %+v", before, now)
	}
}

// Stopped for good, the broker leaves nothing running; sessions wake under the next.
func TestE2EStop(t *testing.T) {
	s := enabled(t, standin(t), nil)
	alice := connect(t, s, "alice")
	useTools(t, alice, "alice")
	id := alice.ID()
	for _, unit := range []string{brokerUnit, "fjmcp-broker.socket"} {
		t.Run(unit, func(t *testing.T) {
			stored(t, s, 1)
			run(t, s, "systemctl", "stop", unit)
			await(t, "no session and no timer is left", func() bool {
				return run(t, s, "systemctl", "list-units", "--all", "--plain", "--no-legend", "fjmcp-session@*", "fjmcp-reap@*") == ""
			})
			if unit != brokerUnit {
				if left := active(t, s); len(left) > 0 && !slices.Equal(left, []string{"fjmcp-sessions.slice"}) {
					t.Errorf("still there: %v", left)
				}
				must(t, s.Enable(t.Context()))
			}
			useTools(t, alice, "alice")
			if alice.ID() != id {
				t.Error("the client has another session")
			}
		})
	}
}
