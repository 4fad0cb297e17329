package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

// roundTimeout bounds every wait of a fleet, on a machine that does much else.
const roundTimeout = 3 * time.Minute

// fleet is clients that call without pause, each in a session of its own. Every
// call has an effect at the forge that nothing else has, so that it is seen how
// often it was carried out.
type fleet struct {
	t       *testing.T
	s       *System
	members []*member
	round   atomic.Int64 // every member is to be answered once in each

	// A call may fail when a kill was under way between its beginning and its end.
	kills struct{ begun, done atomic.Int64 }

	stop    chan struct{}
	running sync.WaitGroup
}

// member is one client. Its fields are its own goroutine's but for round and answers.
type member struct {
	raw
	user    string
	name    string
	calls   []bool       // by number: answered
	answers atomic.Int64 // how many
	round   atomic.Int64 // the latest in which a call was begun and answered
}

// raw is a client that speaks JSON-RPC over HTTP and nothing more: it neither
// comes back for streams nor tries anything again.
type raw struct {
	http           *http.Client
	token, session string
	modern         bool // speaks 2026-07-28
}

const initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}}`

// newRaw returns a client without a session. It has a transport of its own, since
// the default of two idle connections a host would have a crowd open one for almost
// every call.
func newRaw(s *System, token string) *raw {
	return &raw{token: token, http: &http.Client{Transport: &http.Transport{DialContext: s.C.DialContext}, Timeout: roundTimeout}}
}

// rawClient begins a session with a token.
func rawClient(ctx context.Context, s *System, token string) (*raw, error) {
	c := newRaw(s, token)
	return c, c.begin(ctx)
}

func (c *raw) begin(ctx context.Context) error {
	resp, err := c.do(ctx, http.MethodPost, initialize)
	if err != nil {
		return err
	}
	answer, err := response(resp, "0")
	if err != nil {
		return fmt.Errorf("cannot begin a session: %w", err)
	}
	if c.session = resp.Header.Get("Mcp-Session-Id"); c.session == "" {
		return fmt.Errorf("no session: %s", answer)
	}
	return c.notify(ctx, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
}

func (c *raw) do(ctx context.Context, method, body string) (*http.Response, error) {
	return c.send(ctx, method, "/mcp", body)
}

func (c *raw) send(ctx context.Context, method, path, body string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, PublicURL+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set("Authorization", "Bearer "+c.token)
	if c.session != "" {
		r.Header.Set("Mcp-Session-Id", c.session)
	}
	if c.modern {
		r.Header.Set("MCP-Protocol-Version", "2026-07-28")
		r.Header.Set("Mcp-Method", "tools/call")
		r.Header.Set("Mcp-Name", "slow")
	}
	return c.http.Do(r)
}

// listen opens an event stream and reads none of it; ctx's end closes it.
func (c *raw) listen(ctx context.Context, method, body string) error {
	resp, err := c.do(ctx, method, body)
	if err != nil {
		return err
	}
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "text/event-stream") {
		resp.Body.Close()
		return fmt.Errorf("no stream: %s, %q", resp.Status, kind)
	}
	return nil
}

func (c *raw) notify(ctx context.Context, body string) error {
	resp, err := c.do(ctx, http.MethodPost, body)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		return fmt.Errorf("a notification got %s", resp.Status)
	}
	return nil
}

// tool calls a tool and returns the response, an error of the tool's as an error.
func (c *raw) tool(ctx context.Context, id int, name string, args map[string]any) (string, error) {
	body := toolCall(id, name, args)
	if c.modern {
		body = strings.Replace(body, `"_meta":{`, `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},`, 1)
	}
	resp, err := c.do(ctx, http.MethodPost, body)
	if err != nil {
		return "", err
	}
	return response(resp, fmt.Sprint(id))
}

func toolCall(id int, name string, args map[string]any) string {
	body, _ := json.Marshal(map[string]any{ // cannot fail
		"jsonrpc": "2.0", "id": id, "method": "tools/call",
		"params": map[string]any{"name": name, "arguments": args, "_meta": map[string]any{"progressToken": id}},
	})
	return string(body)
}

// end sends DELETE.
func (c *raw) end(ctx context.Context) error {
	resp, err := c.do(ctx, http.MethodDelete, "")
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("DELETE got %s", resp.Status)
	}
	return nil
}

// response reads an answer to its end, JSON or an event stream, and returns the one
// response to id in it.
func response(resp *http.Response, id string) (string, error) {
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return "", fmt.Errorf("%s: %s", resp.Status, b)
	}
	var found []string
	in := bufio.NewReader(resp.Body)
	for {
		line, err := in.ReadString('\n')
		line = strings.TrimPrefix(strings.TrimSpace(line), "data: ")
		var m struct {
			ID     json.RawMessage
			Method string
			Error  json.RawMessage
			Result struct{ IsError bool }
		}
		if json.Unmarshal([]byte(line), &m) == nil && m.Method == "" && string(m.ID) == id {
			found = append(found, line)
			if m.Error != nil || m.Result.IsError {
				return "", errors.New(line)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", err
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%d responses: %q", len(found), found)
	}
	return found[0], nil
}

// launch begins n sessions, by turns of each user, which must be able to have them.
func launch(t *testing.T, s *System, n int, users ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, s: s, stop: make(chan struct{})}
	access := map[string]string{}
	for _, user := range users {
		access[user] = logIn(t, s, user).Access
	}
	for i := range n {
		user := users[i%len(users)]
		c, err := rawClient(t.Context(), s, access[user])
		must(t, err)
		f.members = append(f.members, &member{raw: *c, user: user, name: fmt.Sprintf("%s, session %d", user, i)})
	}
	for _, m := range f.members {
		f.running.Go(func() { f.call(m) })
	}
	return f
}

// call calls until the fleet stops.
func (f *fleet) call(m *member) {
	for {
		select {
		case <-f.stop:
			return
		case <-f.t.Context().Done():
			return
		default:
		}
		round, done := f.round.Load(), f.kills.done.Load()
		n := len(m.calls)
		answer, err := m.tool(f.t.Context(), n, "create_issue", map[string]any{
			"owner": m.user, "repo": "hello", "title": m.title(n), "delay_ms": 20 + n%7*20,
		})
		m.calls = append(m.calls, err == nil)
		switch {
		case err == nil && !strings.Contains(answer, m.title(n)):
			f.t.Errorf("%s got the answer of another: %s", m.title(n), answer)
		case err == nil:
			m.answers.Add(1)
			m.round.Store(round)
		case f.kills.begun.Load() == done && f.t.Context().Err() == nil:
			f.t.Errorf("%s failed while nothing was killed: %v", m.title(n), err)
		}
	}
}

func (m *member) title(n int) string { return fmt.Sprintf("%s, call %d", m.name, n) }

// next begins a round, does what it is for, and waits until every member has had an
// answer to a call that it began after that.
func (f *fleet) next(do func()) {
	f.t.Helper()
	do()
	now := f.round.Add(1)
	for end := time.Now().Add(roundTimeout); ; time.Sleep(20 * time.Millisecond) {
		var behind []string
		for _, m := range f.members {
			if m.round.Load() < now {
				behind = append(behind, m.name)
			}
		}
		if len(behind) == 0 {
			return
		}
		if f.t.Failed() || time.Now().After(end) {
			f.t.Fatalf("round %d: not answered since: %q", now, behind)
		}
	}
}

// kill kills the broker, which systemd starts again.
func (f *fleet) kill() {
	f.t.Helper()
	pid := mainPID(f.t, f.s)
	f.kills.begun.Add(1)
	run(f.t, f.s, "sh", "-c", "kill -9 "+pid+"; while [ -d /proc/"+pid+" ]; do sleep 0.01; done")
	f.kills.done.Add(1)
}

// settle stops the calls and compares what clients were answered with what was
// done. It returns how many calls were answered, and how many failed.
func (f *fleet) settle() (answered, failed int) {
	f.t.Helper()
	close(f.stop)
	f.running.Wait()
	done := effects(f.t, f.s)
	for _, m := range f.members {
		for n, ok := range m.calls {
			times := done[m.title(n)]
			switch {
			case ok && times != 1:
				f.t.Errorf("%s was answered and carried out %d times", m.title(n), times)
			case times > 1:
				f.t.Errorf("%s failed and was carried out %d times", m.title(n), times)
			}
			if ok {
				answered++
			} else {
				failed++
			}
		}
	}
	return answered, failed
}

// end ends the sessions.
func (f *fleet) end() {
	f.t.Helper()
	for _, m := range f.members {
		if err := m.end(f.t.Context()); err != nil {
			f.t.Errorf("%s: %v", m.name, err)
		}
	}
}

// effects counts the issues of alice and bob by title, past the proxy.
func effects(t *testing.T, s *System) map[string]int {
	t.Helper()
	count := map[string]int{}
	for _, u := range fakeforge.DefaultUsers {
		for page := 1; ; page++ {
			w := httptest.NewRecorder()
			s.Forge.ServeHTTP(w, httptest.NewRequest(http.MethodGet, fmt.Sprintf("/api/v1/repos/%s/hello/issues?state=all&limit=50&page=%d", u.Name, page), nil))
			var all []struct{ Title string }
			if err := json.Unmarshal(w.Body.Bytes(), &all); err != nil {
				t.Fatalf("the forge's issues: %v: %s", err, w.Body)
			}
			if len(all) == 0 {
				break
			}
			for _, i := range all {
				count[i.Title]++
			}
		}
	}
	return count
}
