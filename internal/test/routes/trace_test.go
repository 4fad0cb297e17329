package routes

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// traces holds the ways of all requests, by what they ask for: each way is the wings of
// one stack, from the outside in.
type traces struct {
	mu     sync.Mutex
	routes map[string]map[string][]string
	latest string // the route of the request that came last
}

// house is the directory of the wings, as stacks name it.
var house = func() string {
	_, file, _, _ := runtime.Caller(0)
	return strings.TrimSuffix(file, "test/routes/trace_test.go")
}()

// wayOf is the wings of a stack. Files tell them, since the names of closures are those
// of the functions they were inlined into.
func wayOf(stack []uintptr) (way []string, traced bool) {
	frames := runtime.CallersFrames(stack)
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		path, ours := strings.CutPrefix(f.File, house)
		wing, _, _ := strings.Cut(path, "/")
		if wing == "test" {
			traced = traced || strings.Contains(f.Function, "(*traces).follow")
			continue
		}
		if !ours {
			continue
		}
		if len(way) == 0 || way[len(way)-1] != wing {
			way = append(way, wing)
		}
	}
	slices.Reverse(way)
	if len(way) > 1 && way[0] == "daemon" { // what stands before the handlers, such as httpserver.CORS
		way = way[1:]
	}
	return way, traced
}

// add takes a way, if there is a request for it.
func (t *traces) add(route string, way []string) {
	if route == "" || len(way) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.routes[route] == nil {
		t.routes[route] = map[string][]string{}
	}
	t.routes[route][strings.Join(way, " > ")] = way
}

// note adds the stack of the caller to a route.
func (t *traces) note(route string) {
	var stack [128]uintptr
	way, _ := wayOf(stack[:runtime.Callers(2, stack[:])])
	t.add(route, way)
}

// noteWaiting adds the stacks of all requests that wait for something to the route of
// the request that came last.
func (t *traces) noteWaiting() {
	records := make([]runtime.StackRecord, 4096)
	n, _ := runtime.GoroutineProfile(records)
	for _, record := range records[:n] {
		if way, traced := wayOf(record.Stack()); traced {
			t.add(t.current(), way)
		}
	}
}

func (t *traces) current() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.latest
}

// now is the clock of all wings.
func (t *traces) now() time.Time {
	t.note(t.current())
	return time.Now()
}

// Write is where the audit ends.
func (t *traces) Write(p []byte) (int, error) {
	t.note(t.current())
	return len(p), nil
}

// follow has all that h does for a request noted.
func (t *traces) follow(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		route := routeOf(r)
		t.mu.Lock()
		t.latest = route
		t.mu.Unlock()
		h.ServeHTTP(answer{w, t, route}, r.WithContext(probe{r.Context(), t, route}))
	})
}

// headerStage tells requests apart that ask for the same.
const headerStage = "Test-Stage"

// routeOf names a request by its path and what it posts there.
func routeOf(r *http.Request) string {
	route := r.Method + " " + r.URL.Path
	if r.Method != http.MethodPost {
		return route
	}
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	var m struct {
		Method string
		Params struct {
			Meta map[string]any `json:"_meta"`
		}
	}
	if json.Unmarshal(body, &m) == nil && m.Method != "" {
		route += " " + m.Method
	}
	if m.Params.Meta["io.modelcontextprotocol/protocolVersion"] != nil {
		route += " 2026-07-28"
	}
	if stage := r.Header.Get(headerStage); stage != "" {
		route += " " + stage
	}
	return route
}

// probe is a request's context. Whatever waits, stores, fetches or starts on behalf of
// the request asks it.
type probe struct {
	context.Context
	t     *traces
	route string
}

func (p probe) Deadline() (time.Time, bool) { p.t.note(p.route); return p.Context.Deadline() }
func (p probe) Done() <-chan struct{}       { p.t.note(p.route); return p.Context.Done() }
func (p probe) Err() error                  { p.t.note(p.route); return p.Context.Err() }
func (p probe) Value(key any) any           { p.t.note(p.route); return p.Context.Value(key) }

// answer is where a request's answer is written.
type answer struct {
	http.ResponseWriter
	t     *traces
	route string
}

func (a answer) WriteHeader(status int) {
	a.t.note(a.route)
	a.ResponseWriter.WriteHeader(status)
}

func (a answer) Write(p []byte) (int, error) {
	a.t.note(a.route)
	return a.ResponseWriter.Write(p)
}

func (a answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
