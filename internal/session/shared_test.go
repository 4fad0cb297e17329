package session_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/subscription"
)

// A modern backend is asked as it is, an old one has been initialized.
func TestSharedSessionOpensItsBackend(t *testing.T) {
	const hello = `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"test_simple_text","_meta":{
		"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`
	for backend, modern := range map[string]bool{"everything": true, "held": false} {
		t.Run(backend, func(t *testing.T) {
			w := start(t, backend)
			s := w.shared(w.access)
			if n := len(w.units()); n != 0 {
				t.Fatalf("%d units run before the first use", n)
			}
			got := w.server(s, w.access)
			want := map[bool]string{true: "2026-07-28", false: "2025-11-25"}[modern]
			if got.Modern != modern || got.Protocol != want || s.Protocol() != want {
				t.Errorf("modern %v, protocol %q, %q", got.Modern, got.Protocol, s.Protocol())
			}
			if (got.Discover != nil) != modern {
				t.Errorf("result of server/discover: %s", got.Discover)
			}
			if !strings.Contains(string(got.Info), "mcp-conformance-test-server") || !got.Supports().ResourcesSubscribe {
				t.Errorf("info %s, capabilities %s", got.Info, got.Capabilities)
			}
			if got.Instructions != nil {
				t.Errorf("instructions %s", got.Instructions)
			}
			all := w.call(s, w.access, hello)
			answer := all[len(all)-1]
			if answer.IsError() || string(answer.ID()) != "7" || (answer.ResultString("resultType") == "complete") != modern {
				t.Errorf("answer %s", answer.Raw)
			}
		})
	}
}

// An initialized backend may ask for whatever a client can do.
func TestOldBackendIsToldAllCapabilities(t *testing.T) {
	w := start(t, "held")
	s := w.shared(w.access)
	c, err := s.Call(t.Context(), w.access, message(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"test_sampling","arguments":{"prompt":"?"}}}`))
	w.must(err)
	e, err := c.Next(t.Context())
	w.must(err)
	if q := message(string(e.Raw)); q.Method != "sampling/createMessage" {
		t.Errorf("the backend did not ask but said %s", e.Raw)
	}
}

func TestSharedSessionIsOne(t *testing.T) {
	w := start(t, "held")
	var all sync.WaitGroup
	found := make([]*session.Session, 8)
	for i := range found {
		all.Go(func() {
			access := w.access
			if i%2 == 1 {
				access = w.reader()
			}
			s, err := w.Shared(t.Context(), access)
			if err == nil {
				_, err = s.Server(t.Context(), access)
			}
			if err != nil {
				t.Error(err)
			}
			found[i] = s
		})
	}
	all.Wait()
	writer, reader := found[0], found[1]
	for i, s := range found {
		if s != []*session.Session{writer, reader}[i%2] {
			t.Errorf("request %d got a session of its own", i)
		}
	}
	if writer == reader || writer.ReadOnly() || !reader.ReadOnly() {
		t.Errorf("writer %v, reader %v", writer.ReadOnly(), reader.ReadOnly())
	}
	if n := len(w.units()); n != 2 {
		t.Errorf("%d units run", n)
	}
	if _, err := writer.Server(t.Context(), w.reader()); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("a reader's use of the writing one: %v", err)
	}
	if w.server(reader, w.access); !reader.ReadOnly() {
		t.Error("a writer's use raised the reading one")
	}
	list, err := w.List(t.Context())
	w.must(err)
	for _, s := range list {
		if s.Kind != model.SessionShared || !s.Running() || s.Protocol != "2025-11-25" || s.UserName != "alice" {
			t.Errorf("listed as %+v", s)
		}
	}
	if _, err := w.Get(t.Context(), writer.ID(), w.access); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("by its id: %v", err)
	}
}

func TestSharedSessionOutlivesTheBroker(t *testing.T) {
	w := start(t, "held")
	before := w.shared(w.access)
	w.server(before, w.access)
	w.restart()
	after := w.shared(w.access)
	if after.ID() != before.ID() || after.Protocol() != "2025-11-25" {
		t.Errorf("another session, of protocol %q", after.Protocol())
	}
	w.server(after, w.access)
	w.advance(w.cfg.MaxAge)
	next := w.shared(w.access)
	if next.ID() == before.ID() {
		t.Error("it is past its maximum age")
	}
	<-after.Done()
	w.until("its unit is gone", func() bool { return len(w.units()) == 0 })
}

// A call that is carried out is not cut off for a replacement, an idle session is
// replaced before its unit's time is over.
func TestSharedSessionRetires(t *testing.T) {
	w := start(t, "standin")
	first := w.shared(w.access)
	c, err := first.Call(t.Context(), w.access, message(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"slow","arguments":{"ms":60000}}}`))
	w.must(err)
	w.advance(w.cfg.MaxAge - time.Minute)
	if s := w.shared(w.access); s != first {
		t.Error("it was replaced while it worked")
	}
	c.Abandon("enough")
	if s := w.shared(w.access); s == first {
		t.Error("idle, it was not replaced")
	}
	<-first.Done()
}

func TestSharedSessionEndsWithItsGrant(t *testing.T) {
	w := start(t, "held")
	s := w.shared(w.access)
	sub, err := s.Subscribe(t.Context(), w.access, subscription.Filter{Tools: true})
	w.must(err)
	w.disconnect(w.access)
	w.must(w.EndGrant(t.Context(), w.access.GrantID))
	<-s.Done()
	if _, err := sub.Next(t.Context()); !errors.Is(err, subscription.ErrEnded) {
		t.Errorf("its subscription: %v", err)
	}
	if _, err := s.Server(t.Context(), w.access); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("the ended one: %v", err)
	}
	if _, err := w.Shared(t.Context(), w.access); !errors.Is(err, model.ErrRevoked) {
		t.Errorf("another: %v", err)
	}
}

func TestSharedSessionTakesAPlaceAmongTheUnits(t *testing.T) {
	w := start(t, "held")
	w.cfg.PerUser = 1
	w.restart()
	s := w.shared(w.access)
	w.server(s, w.access)
	w.advance(time.Second)
	own, _, err := w.Create(t.Context(), w.access, message(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`))
	w.must(err)
	w.advance(time.Second)
	w.server(s, w.access)
	if n := len(w.units()); n != 1 {
		t.Errorf("%d units run", n)
	}
	list, err := w.List(t.Context())
	w.must(err)
	for _, v := range list {
		if v.Running() != (v.Label == s.Label()) || (v.Kind == model.SessionClient) != (v.Label == own.Label()) {
			t.Errorf("listed as %+v", v)
		}
	}
}

func TestSharedSessionRefusesAnOldForgejoMCP(t *testing.T) {
	w := start(t, "old")
	_, err := w.shared(w.access).Server(t.Context(), w.access)
	if session.StartReason(err) != "backend_too_old" {
		t.Errorf("got %v", err)
	}
}

func TestSharedSessionWithForgejoMCP(t *testing.T) {
	path := os.Getenv("FJMCP_TEST_FORGEJO_MCP")
	if path == "" {
		t.Skip("FJMCP_TEST_FORGEJO_MCP names no forgejo-mcp")
	}
	w := start(t, path)
	s := w.shared(w.access)
	got := w.server(s, w.access)
	if got.Modern || !mcp.Handshake(got.Protocol) || !strings.Contains(string(got.Info), "Forgejo MCP Server") {
		t.Errorf("it says of itself: modern %v, protocol %s, %s, %s", got.Modern, got.Protocol, got.Info, got.Capabilities)
	}
	all := w.call(s, w.access, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_my_user_info","arguments":{}}}`)
	if answer := string(all[len(all)-1].Raw); !strings.Contains(answer, "alice") {
		t.Errorf("got %s", answer)
	}
}

// logs calls the tool that logs and counts what comes of it.
func (w *world) logs(s *session.Session) (n int) {
	w.t.Helper()
	for _, m := range w.call(s, w.access, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"test_tool_with_logging"}}`) {
		if m.Method == "notifications/message" {
			n++
		}
	}
	return n
}

func (w *world) kill() {
	w.t.Helper()
	for _, id := range w.units() {
		w.must(w.cfg.Launcher.Stop(w.t.Context(), id))
	}
}

func TestLogLevelIsTheLowestAsked(t *testing.T) {
	w := start(t, "held")
	s := w.shared(w.access)
	w.must(s.LogFrom(t.Context(), "error"))
	if n := w.logs(s); n != 0 {
		t.Errorf("%d messages at level error", n)
	}
	w.must(s.LogFrom(t.Context(), "info"))
	w.must(s.LogFrom(t.Context(), "warning"))
	if n := w.logs(s); n == 0 {
		t.Error("no messages at level info")
	}
	w.kill()
	if n := w.logs(s); n == 0 {
		t.Error("no messages after waking")
	}
}

func TestModernBackendHasNoLogLevel(t *testing.T) {
	w := start(t, "everything")
	s := w.shared(w.access)
	w.server(s, w.access)
	w.must(s.LogFrom(t.Context(), "debug"))
	sub, err := s.Subscribe(t.Context(), w.access, subscription.Filter{Tools: true, URIs: []string{"test://watched-resource"}})
	w.must(err)
	if h := sub.Honoured(); h.Tools || len(h.URIs) > 0 {
		t.Errorf("honoured %+v", h)
	}
}

// next takes a notification and returns its method and URI.
func (w *world) next(sub *subscription.Subscription) string {
	w.t.Helper()
	raw, err := sub.Next(w.t.Context())
	w.must(err)
	var m struct {
		Method string
		Params struct{ URI string }
	}
	w.must(json.Unmarshal(raw, &m))
	return strings.TrimSpace(m.Method + " " + m.Params.URI)
}

func TestSubscriptionsOverAnOldBackend(t *testing.T) {
	const watched = "test://watched-resource" // updated every 3 s
	const update = "notifications/resources/updated " + watched
	w := start(t, "held")
	s := w.shared(w.access)
	all, err := s.Subscribe(t.Context(), w.access, subscription.Filter{Tools: true, Prompts: true, Resources: true, URIs: []string{watched}})
	w.must(err)
	if h := all.Honoured(); !h.Tools || !h.Prompts || !h.Resources || len(h.URIs) != 1 {
		t.Errorf("honoured %+v", h)
	}
	prompts, err := s.Subscribe(t.Context(), w.access, subscription.Filter{Prompts: true})
	w.must(err)
	w.call(s, w.access, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"test_trigger_prompt_change"}}`)
	if got := w.next(prompts); got != "notifications/prompts/list_changed" {
		t.Errorf("got %q", got)
	}
	for got := ""; got != update; { // beside the change of the prompts, whichever comes first
		got = w.next(all)
	}
	prompts.Close()

	w.kill()
	w.until("it is dormant", func() bool {
		list, err := w.List(t.Context())
		w.must(err)
		return !list[0].Running()
	})
	if n := len(w.units()); n != 0 {
		t.Errorf("a subscription keeps %d units running", n)
	}
	w.server(s, w.access)
	for range 2 { // one may have waited since before
		if got := w.next(all); got != update {
			t.Errorf("after waking: %q", got)
		}
	}
}
