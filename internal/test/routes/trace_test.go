package routes

import (
	"bytes"
	"cmp"
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
	mu       sync.Mutex
	routes   map[string]map[string][]string
	handlers map[string]string // the routes of the goroutines that serve requests
}

// background is where the ways of goroutines go that serve no request.
const background = "in the background"

// house is the directory of the wings, as stacks name it.
var house = func() string {
	_, file, _, _ := runtime.Caller(0)
	return strings.TrimSuffix(file, "test/routes/trace_test.go")
}()

// wayOf is the goroutine and the wings of a stack as runtime.Stack writes it. Files tell
// them, since the names of closures are those of the functions they were inlined into.
func wayOf(stack string) (goroutine string, way []string) {
	goroutine, frames, _ := strings.Cut(stack, "[")
	for line := range strings.Lines(frames) {
		path, ours := strings.CutPrefix(line, "\t"+house)
		wing, _, _ := strings.Cut(path, "/")
		if ours && wing != "test" && (len(way) == 0 || way[len(way)-1] != wing) {
			way = append(way, wing)
		}
	}
	slices.Reverse(way)
	if len(way) > 1 && way[0] == "daemon" { // what stands before the handlers, such as httpserver.CORS
		way = way[1:]
	}
	return goroutine, way
}

// stacks is what runtime.Stack writes, of all goroutines or of the caller's.
func stacks(all bool) string {
	buffer := make([]byte, 64<<10)
	if all {
		buffer = make([]byte, 4<<20)
	}
	return string(buffer[:runtime.Stack(buffer, all)])
}

func (t *traces) addLocked(route string, way []string) {
	if len(way) == 0 {
		return
	}
	if t.routes[route] == nil {
		t.routes[route] = map[string][]string{}
	}
	t.routes[route][strings.Join(way, " > ")] = way
}

// note adds the stack of the caller to a route, "" for that which its goroutine serves.
func (t *traces) note(route string) {
	goroutine, way := wayOf(stacks(false))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.addLocked(cmp.Or(route, t.handlers[goroutine], background), way)
}

// noteWaiting adds the stacks of all requests that wait for something.
func (t *traces) noteWaiting() {
	for stack := range strings.SplitSeq(stacks(true), "\n\n") {
		goroutine, way := wayOf(stack)
		t.mu.Lock()
		if route, ok := t.handlers[goroutine]; ok {
			t.addLocked(route, way)
		}
		t.mu.Unlock()
	}
}

// now is the clock of all wings.
func (t *traces) now() time.Time {
	t.note("")
	return time.Now()
}

// Write is where the audit ends.
func (t *traces) Write(p []byte) (int, error) {
	t.note("")
	return len(p), nil
}

// follow has all that h does for a request noted.
func (t *traces) follow(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		route := routeOf(r)
		goroutine, _ := wayOf(stacks(false))
		t.mu.Lock()
		t.handlers[goroutine] = route
		t.mu.Unlock()
		h.ServeHTTP(answer{w, t, route}, r.WithContext(probe{r.Context(), t, route}))
		t.mu.Lock()
		delete(t.handlers, goroutine)
		t.mu.Unlock()
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
