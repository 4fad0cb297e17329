package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/programs"
)

// A whole run, cut short: every target has its lines and rows under its own name,
// and those that cannot be measured are said to be missing.
func TestRun(t *testing.T) {
	bin := t.TempDir()
	if err := programs.Build(t.Context(), bin, "fjmcp-broker", "fjmcp-session", programs.Many); err != nil {
		t.Fatal(err)
	}
	broken := httptest.NewServer(http.NotFoundHandler())
	defer broken.Close()
	further, err := endpoints("broken=" + broken.URL + "/mcp,")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = compare(t.Context(), config{
		broker: filepath.Join(bin, "fjmcp-broker"), child: filepath.Join(bin, programs.Many),
		supergateway: filepath.Join(t.TempDir(), "absent"), http: further,
		rounds: 2, slice: time.Millisecond, idle: 8, only: regexp.MustCompile(``), out: &out, progress: io.Discard,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, name := range []string{"Start", "Call", "List", "Sessions8", "Sessions64"} {
		for _, via := range []string{"broker", "stdio"} {
			line := regexp.MustCompile(fmt.Sprintf(`(?m)^Benchmark%s/via=%s-\d+\t\d+\t\d+ ns/op\t`, name, via))
			if n := len(line.FindAll(out.Bytes(), -1)); n != 2 {
				t.Errorf("%d lines of %s for %s, want one a round", n, name, via)
			}
		}
	}
	for _, want := range []string{`BenchmarkMemory/of=fjmcp-session-\d+\t1\t\d+ private-B`, `by tbxark's +not measured`, `each idle session in it +-?[\d.e+]+ KiB +at most 64`} {
		if !regexp.MustCompile(want).Match(out.Bytes()) {
			t.Errorf("lacks %s", want)
		}
	}
	for row, why := range map[string]string{"supergateway": "absent", "broken": "404 Not Found"} {
		missing := regexp.MustCompile(`(?m)^` + row + ` +missing: .*` + why)
		if n := len(missing.FindAll(out.Bytes(), -1)); n != 5 {
			t.Errorf("%d tables say that %s is missing, want 5", n, row)
		}
	}
	if t.Failed() {
		t.Logf("\n%s", &out)
	}
}

// reply begins a session at a server that answers every request with body, its id put
// in for ID.
func reply(t *testing.T, contentType, body string) session {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		id := regexp.MustCompile(`"id":(\d+)`).FindSubmatch(b)
		switch {
		case id == nil:
			w.WriteHeader(http.StatusAccepted)
		case bytes.Contains(b, []byte("initialize")):
			w.Header().Set("Mcp-Session-Id", "of-the-test")
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-03-26"}}`, id[1])
		case r.Header.Get("Mcp-Session-Id") != "of-the-test" || r.Header.Get("MCP-Protocol-Version") != "2025-03-26" || r.Header.Get("Authorization") != "Bearer secret":
			w.WriteHeader(http.StatusBadRequest)
		default:
			w.Header().Set("Content-Type", contentType)
			fmt.Fprint(w, strings.ReplaceAll(body, "ID", string(id[1])))
		}
	}))
	t.Cleanup(s.Close)
	e, err := newEndpoint(s.URL + "/mcp")
	if err != nil {
		t.Fatal(err)
	}
	e.token = "secret"
	session, _, err := e.target("reply").open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	return session
}

// The response is found in whatever form a server may give it, and the connection
// serves for the next request.
func TestHTTP(t *testing.T) {
	const response = `{"jsonrpc":"2.0","id":ID,"result":{}}`
	for name, c := range map[string]struct{ contentType, body, want string }{
		"json":          {"application/json", response, response},
		"event":         {"text/event-stream", "event: message\ndata: " + response + "\n\n", response},
		"events before": {"text/event-stream", ": hello\n\nid: 1\ndata:\n\ndata: {\"method\":\"x\"}\n\ndata:" + response + "\r\n\r\n: after\n\n", response},
		"other lines":   {"text/event-stream; charset=utf-8", "id: 7\ndata: " + response + "\nretry: 10\n\n", response},
	} {
		t.Run(name, func(t *testing.T) {
			s := reply(t, c.contentType, c.body)
			for n := 2; n < 4; n++ {
				want := strings.ReplaceAll(c.want, "ID", fmt.Sprint(firstID+n))
				if got, _, err := s.Call(ping); err != nil || string(got) != want {
					t.Fatalf("got %q, %v, want %q", got, err, want)
				}
			}
		})
	}
}

// A connection that the server closed while it was quiet is replaced.
func TestHTTPReconnects(t *testing.T) {
	s := reply(t, "application/json", `{"jsonrpc":"2.0","id":ID,"result":{}}`)
	if err := s.(*httpSession).conn.(*net.TCPConn).CloseRead(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Call(ping); err != nil {
		t.Error(err)
	}
}

func TestHTTPFailures(t *testing.T) {
	for name, c := range map[string]struct{ contentType, body, want string }{
		"another's response": {"application/json", `{"jsonrpc":"2.0","id":1,"result":{}}`, "answers no request"},
		"end without one":    {"text/event-stream", "data: {}\n\n", "ended without a response"},
	} {
		t.Run(name, func(t *testing.T) {
			s := reply(t, c.contentType, c.body)
			if got, _, err := s.Call(ping); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for raw, want := range map[string]string{
		`{"id":1,"result":{"content":[]}}`:                 "",
		`{"id":1,"error":{"code":1}}`:                      `error: {"code":1}`,
		`{"id":1,"result":{"isError":true,"content":"x"}}`: `tool failed: "x"`,
		`{"id":1}`: "no result",
		`{`:        "cannot read",
	} {
		if err := check([]byte(raw)); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", raw, err, want)
		}
	}
}

func TestEndpoints(t *testing.T) {
	got, err := endpoints("a=http://127.0.0.1:1/mcp,b=http://127.0.0.1:2/x/mcp")
	if err != nil || len(got) != 2 || got[0].name != "a" || got[1].name != "b" {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"a", "=http://x/", "a=https://x/", "a=x", "stdio=http://x/", "broker=http://x/", "supergateway=http://x/", "a/b=http://x/"} {
		if _, err := endpoints(bad); err == nil {
			t.Errorf("took %q", bad)
		}
	}
}

// A target that fails once is out; the others continue, each in every round.
func TestRunDropsWhatFails(t *testing.T) {
	order := ""
	via := func(name string, good int) target {
		return target{name, func(context.Context) (session, time.Duration, error) {
			if good--; good < 0 {
				return nil, 0, errors.New("out of order")
			}
			order += name
			return idle{}, time.Second, nil
		}}
	}
	m, r := measure{name: "Start"}, results{}
	err := m.run(t.Context(), config{rounds: 3, out: io.Discard}, []target{via("a", 9), via("b", 1), via("c", 9)}, r)
	if err != nil || r["Start/via=b"].failed == nil || r["Start/via=a"].failed != nil || len(r["Start/via=c"].rounds) != 3 {
		t.Fatalf("got %v, %v", r, err)
	}
	if want := "abc" + "ca" + "ca"; order != want {
		t.Errorf("order %q, want %q", order, want)
	}
}

type idle struct{ session }

func (idle) Close() error { return nil }
