package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/store/database"
)

// observed returns a Metrics that hears of events, and what they are written by.
func observed() (*Metrics, *audit.Logger) {
	m, events := New("/p"), audit.New(io.Discard)
	m.Audit(events)
	return m, events
}

// gathered are the series of one metric by their labels, a="b",c="d": values of counters,
// and sums of histograms. Counters of what has not happened are left out, but for events.
func gathered(t *testing.T, m *Metrics, name string) map[string]float64 {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, series := range f.GetMetric() {
			var labels []string
			for _, l := range series.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			if v := series.GetCounter(); v != nil && v.GetValue() == 0 && name != "fjmcp_audit_events_total" {
				continue
			}
			all[strings.Join(labels, ",")] = series.GetCounter().GetValue() + series.GetHistogram().GetSampleSum()
		}
	}
	return all
}

func wants(t *testing.T, m *Metrics, name string, want map[string]float64) {
	t.Helper()
	if got := gathered(t, m, name); !maps.Equal(got, want) {
		t.Errorf("%s: got\n%v, want\n%v", name, got, want)
	}
}

// Each event counts where it belongs, with its outcome, and a made-up word as other.
func TestEventsAreCounted(t *testing.T) {
	m, events := observed()
	for _, e := range []audit.Event{
		{Kind: audit.ToolCall, Tool: "create_issue", Outcome: "ok", DurationUsec: "3000", User: "alice", Repo: "alice/site"},
		{Kind: audit.ToolCall, Tool: "create_issue", Outcome: "ok", DurationUsec: "20000000"},
		{Kind: audit.ToolCall, Tool: "alice", Outcome: "bob"},
		{Kind: audit.ToolCall, Outcome: "read_only"},
		{Kind: audit.ResourceRead, Resource: "forgejo:repo", Outcome: "timeout"},
		{Kind: audit.PromptGet, Prompt: "p", Outcome: "ok"},
		{Kind: audit.LoginSucceeded, Outcome: "ok"},
		{Kind: audit.AccountLogin, Outcome: "ok"},
		{Kind: audit.LoginDenied, Outcome: "denied"},
		{Kind: audit.LoginFailed, Outcome: "down"},
		{Kind: audit.RateLimited, Outcome: "bearer"},
		{Kind: audit.RateLimited, Outcome: "calls"},
		{Kind: audit.ForgejoRefresh, Outcome: "grant_dead"},
		{Kind: audit.SessionStarted, Outcome: "ok", DurationUsec: "40000"},
		{Kind: audit.SessionStarted, Outcome: "ok", DurationUsec: "400000", Detail: audit.Woken},
		{Kind: audit.SessionFailed, Outcome: "crashed"},
		{Kind: audit.SessionFailed, Outcome: "whatever a session says"},
		{Kind: audit.SessionStopped, Outcome: "max_age"},
		{Kind: audit.SessionReaped, Outcome: "dormant"},
	} {
		events.Event(context.Background(), e)
	}
	for range 3 { // of a loop
		events.Tell(audit.Event{Kind: audit.ToolCall, Tool: "create_issue", Outcome: "rate_limited"})
	}
	m.Refreshed()()
	wants(t, m, "fjmcp_calls_total", map[string]float64{
		`method="tools/call",outcome="ok",tool="create_issue"`:           2,
		`method="tools/call",outcome="rate_limited",tool="create_issue"`: 3,
		`method="tools/call",outcome="other",tool="other"`:               1,
		`method="tools/call",outcome="read_only",tool="other"`:           1,
		`method="resources/read",outcome="timeout",tool=""`:              1,
		`method="prompts/get",outcome="ok",tool=""`:                      1,
	})
	wants(t, m, "fjmcp_logins_total", map[string]float64{
		`outcome="ok"`:     2,
		`outcome="denied"`: 1,
		`outcome="down"`:   1,
	})
	wants(t, m, "fjmcp_rate_limited_total", map[string]float64{
		`limit="bearer"`: 1,
		`limit="calls"`:  1,
	})
	wants(t, m, "fjmcp_forgejo_refreshes_total", map[string]float64{
		`outcome="ok"`:         1,
		`outcome="grant_dead"`: 1,
	})
	wants(t, m, "fjmcp_session_failures_total", map[string]float64{
		`reason="crashed"`: 1,
		`reason="other"`:   1,
	})
	wants(t, m, "fjmcp_session_stops_total", map[string]float64{
		`reason="max_age"`: 1,
		`reason="dormant"`: 1,
	})
	all := gathered(t, m, "fjmcp_audit_events_total")
	if len(all) != len(audit.Kinds()) {
		t.Errorf("not all kinds of event are there: %v", all)
	}
	for kind, want := range map[audit.Kind]float64{audit.ToolCall: 4, audit.SessionReaped: 1, audit.TokenLeaked: 0} {
		if got := all[fmt.Sprintf("event=%q", kind)]; got != want {
			t.Errorf("%s counts %v, want %v", kind, got, want)
		}
	}
	wants(t, m, "fjmcp_call_duration_seconds", map[string]float64{`method="tools/call"`: 20.003, `method="resources/read"`: 0, `method="prompts/get"`: 0})
	wants(t, m, "fjmcp_session_start_duration_seconds", map[string]float64{`kind="start"`: .04, `kind="wake"`: .4})
}

// What docs/audit.md lists as an outcome is known, so that none counts as other.
func TestOutcomesAreKnown(t *testing.T) {
	page, err := os.ReadFile("../../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	_, outcomes, _ := strings.Cut(string(page), "\n## Outcomes\n")
	outcomes, _, _ = strings.Cut(outcomes, "\n## ")
	lists := 0
	for item := range strings.SplitSeq(outcomes, "\n- ") {
		subject, list, _ := strings.Cut(item, ":")
		for _, word := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(list, -1) {
			known := map[string]words{"`tool_call`": callOutcomes, "`session_failed`": failureReasons, "`login_failed`, `forgejo_refresh_failed`": loginOutcomes}[strings.TrimSpace(subject)]
			if known == nil {
				continue // of other events, by name
			}
			if lists++; !known[word[1]] && word[1] != "tool_call" {
				t.Errorf("%s: %s counts as other", subject, word[1])
			}
		}
	}
	if lists < 30 {
		t.Errorf("the page lists only %d outcomes", lists)
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(session_stopped|session_reaped|rate_limited)` .*outcome \\((.*)").FindAllStringSubmatch(string(page), -1) {
		known := stopReasons
		if m[1] == "rate_limited" {
			known = limits
		}
		list, _, _ := strings.Cut(m[2], "), detail")
		for _, word := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(list, -1) {
			if !known[word[1]] {
				t.Errorf("%s: %s counts as other", m[1], word[1])
			}
		}
	}
}

// Requests count by the pattern and status, whatever the path was.
func TestRequests(t *testing.T) {
	m := New("/p")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /p/account", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusTeapot)
	})
	mux.HandleFunc("/p/mcp/{$}", func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("GET /p/doctor/{ticket}", func(http.ResponseWriter, *http.Request) {})
	server := httptest.NewServer(m.Requests(mux))
	defer server.Close()
	for _, request := range []string{"GET /p/account", "POST /p/account", "GET /p/mcp/", "GET /p/doctor/alice", "GET /alice"} {
		method, path, _ := strings.Cut(request, " ")
		r, err := http.NewRequest(method, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	wants(t, m, "fjmcp_http_requests_total", map[string]float64{
		`code="418",handler="/account"`:         1,
		`code="405",handler="other"`:            1,
		`code="200",handler="/mcp/"`:            1,
		`code="200",handler="/doctor/{ticket}"`: 1,
		`code="404",handler="other"`:            1,
	})
}

// Requests to the forge count by what they are for, never by their URL.
func TestForge(t *testing.T) {
	m := New("")
	status := 0
	sender := m.Forge(roundTripper(func(*http.Request) (*http.Response, error) {
		if status == 0 {
			return nil, errors.New("no route to host")
		}
		return &http.Response{StatusCode: status}, nil
	}))
	for _, tt := range []struct {
		path   string
		status int
	}{{"/git/login/oauth/access_token", 200}, {"/login/oauth/access_token", 0}, {"/api/v1/version", 503}, {"/api/v1/users/alice", 404}, {"/login/oauth/userinfo", 999}} {
		status = tt.status
		r, err := http.NewRequest(http.MethodGet, "http://forge"+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = sender.RoundTrip(r)
	}
	wants(t, m, "fjmcp_forge_requests_total", map[string]float64{
		`code="2xx",endpoint="token"`:    1,
		`code="none",endpoint="token"`:   1,
		`code="5xx",endpoint="version"`:  1,
		`code="4xx",endpoint="other"`:    1,
		`code="5xx",endpoint="userinfo"`: 1,
	})
	if timed := gathered(t, m, "fjmcp_forge_request_duration_seconds"); len(timed) != 4 {
		t.Errorf("timed were %v", timed)
	}
}

// Without metrics there is nothing in the way of anything.
func TestNil(t *testing.T) {
	var m *Metrics
	if m.Store() != nil || m.Refreshed() != nil {
		t.Error("a clock runs for nobody")
	}
	mux := http.NewServeMux()
	if m.Requests(mux) != http.Handler(mux) || m.Forge(http.DefaultTransport) != http.DefaultTransport {
		t.Error("requests take a detour for nobody")
	}
	m.Attend(Sources{})
	events := audit.New(io.Discard)
	m.Audit(events)
	events.Event(context.Background(), audit.Event{Kind: audit.ToolCall})
}

// Only GET and HEAD of /metrics are served, as OpenMetrics to who asks for it.
func TestHandler(t *testing.T) {
	m := New("")
	m.Store()(database.Write, time.Millisecond)
	server := httptest.NewServer(m.Handler(slog.New(slog.DiscardHandler)))
	defer server.Close()
	for _, tt := range []struct {
		method, path, accept string
		status               int
		kind                 string
	}{
		{"GET", "/metrics", "", 200, "text/plain; version=0.0.4"},
		{"GET", "/metrics", "application/openmetrics-text; version=1.0.0", 200, "application/openmetrics-text; version=1.0.0"},
		{"HEAD", "/metrics", "", 200, "text/plain"},
		{"POST", "/metrics", "", 405, ""},
		{"DELETE", "/metrics", "", 405, ""},
		{"GET", "/", "", 404, ""},
		{"GET", "/metrics/x", "", 404, ""},
		{"GET", "/mcp", "", 404, ""},
	} {
		r, err := http.NewRequest(tt.method, server.URL+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", tt.accept)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != tt.status || !strings.HasPrefix(resp.Header.Get("Content-Type"), tt.kind) {
			t.Errorf("%s %s: %s, %v, %v", tt.method, tt.path, resp.Status, resp.Header, err)
		}
		if has := strings.Contains(string(text), "fjmcp_build_info{"); has != (tt.status == 200 && tt.method == "GET") {
			t.Errorf("%s %s gave\n%s", tt.method, tt.path, text)
		}
	}
}

// No two labels' words tell of each other by chance: other is none of them.
func TestOtherIsNoWord(t *testing.T) {
	for i, w := range []words{callOutcomes, failureReasons, loginOutcomes, stopReasons, limits, kinds, tools()} {
		if w[other] || w[""] || len(w) < 5 {
			t.Errorf("words %d are %v", i, slices.Sorted(maps.Keys(w)))
		}
	}
}

// BenchmarkCall is what a call costs more with metrics: its event and its answer. A call
// takes some 250 µs.
func BenchmarkCall(b *testing.B) {
	m := New("")
	mux := http.NewServeMux()
	mux.HandleFunc("/mcp", func(http.ResponseWriter, *http.Request) {})
	h, r, w := m.Requests(mux), httptest.NewRequest(http.MethodPost, "/mcp", nil), httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		m.event(audit.Event{Kind: audit.ToolCall, Tool: "create_issue", Outcome: "ok", DurationUsec: "250"})
		h.ServeHTTP(w, r)
	}
}

// BenchmarkScrape is one of a broker with little to tell.
func BenchmarkScrape(b *testing.B) {
	h, r := New("").Handler(slog.New(slog.DiscardHandler)), httptest.NewRequest(http.MethodGet, "/metrics", nil)
	for b.Loop() {
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
}
