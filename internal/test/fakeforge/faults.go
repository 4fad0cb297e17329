package fakeforge

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
)

// Fault makes requests go wrong.
type Fault struct {
	Path string // prefix of the URL path; empty means every path
	Kind string
	// Kinds:
	//   status  answer Status with a short HTML page
	//   html    answer 200 with an HTML page
	//   drop    do the work, then close the connection without an answer
	//   hold    wait until the faults are cleared, then do the work and answer
	//   late    do the work, then wait until the faults are cleared, and answer
	Status int
	Count  int // requests it is good for; 0 means all
}

// The paths that tests most often break.
const (
	TokenPath      = "/login/oauth/access_token"
	UserinfoPath   = "/login/oauth/userinfo"
	IntrospectPath = "/login/oauth/introspect"
	APIPath        = "/api/v1/"
)

type faults struct {
	mu      sync.Mutex
	list    []*Fault
	cleared chan struct{} // closed by clear
	seen    map[string]int
	waiting atomic.Int64
}

// Inject adds a fault. The first that fits a request is applied to it.
func (f *Forge) Inject(fault Fault) error {
	switch fault.Kind {
	case "status":
		if fault.Status < 400 || fault.Status > 599 {
			return fmt.Errorf("cannot answer with status %d: it must be 400 to 599", fault.Status)
		}
	case "html", "drop", "hold", "late":
	default:
		return fmt.Errorf("cannot inject a fault of kind %q", fault.Kind)
	}
	f.plans.mu.Lock()
	defer f.plans.mu.Unlock()
	f.plans.list = append(f.plans.list, &fault)
	return nil
}

// ClearFaults removes every fault and lets held requests continue.
func (f *Forge) ClearFaults() {
	f.plans.mu.Lock()
	defer f.plans.mu.Unlock()
	close(f.plans.cleared)
	f.plans.cleared, f.plans.list = make(chan struct{}), nil
}

// Requests counts the requests for exactly this path that have arrived so far.
func (f *Forge) Requests(path string) int {
	f.plans.mu.Lock()
	defer f.plans.mu.Unlock()
	return f.plans.seen[path]
}

// Waiting counts the requests that a hold or late fault holds at the moment.
func (f *Forge) Waiting() int { return int(f.plans.waiting.Load()) }

// take returns the fault for path, if any, and the channel that ends its wait.
func (p *faults) take(path string) (Fault, chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[path]++
	for i, fault := range p.list {
		if !strings.HasPrefix(path, fault.Path) {
			continue
		}
		if fault.Count == 1 {
			p.list = append(p.list[:i:i], p.list[i+1:]...)
		} else if fault.Count > 1 {
			fault.Count--
		}
		return *fault, p.cleared
	}
	return Fault{}, nil
}

func (p *faults) wait(r *http.Request, cleared chan struct{}) {
	p.waiting.Add(1)
	defer p.waiting.Add(-1)
	select {
	case <-cleared:
	case <-r.Context().Done():
	}
}

func (p *faults) apply(w http.ResponseWriter, r *http.Request, next http.Handler) {
	fault, cleared := p.take(r.URL.Path)
	switch fault.Kind {
	case "status":
		page(w, fault.Status, "Something went wrong", "")
	case "html":
		page(w, http.StatusOK, "Maintenance", "<p>Back soon.</p>")
	case "drop":
		next.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler) // closes the connection
	case "late":
		kept := httptest.NewRecorder()
		next.ServeHTTP(kept, r)
		p.wait(r, cleared)
		maps.Copy(w.Header(), kept.Header())
		w.WriteHeader(kept.Code)
		_, _ = kept.Body.WriteTo(w)
	case "hold":
		p.wait(r, cleared)
		next.ServeHTTP(w, r)
	default:
		next.ServeHTTP(w, r)
	}
}
