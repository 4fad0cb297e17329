package sandbox

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
)

const (
	forbiddenPause   = 10 * time.Second // between two questions
	forbiddenTimeout = 5 * time.Second  // for the broker, which asks the forge
)

// forbidden is the question to the broker whether the forge's 403 is because of the user.
type forbidden struct {
	mu    sync.Mutex
	asked time.Time     // last
	known chan struct{} // closed when the answer to that is there, or will not come
}

// reportForbidden tells the broker of a 403 and waits until it knows whether the user may
// still sign in, so that the first call of one who may not is answered like all later
// ones. Many calls may get the same answer: they wait for one question, and within
// forbiddenPause after it for none.
func (s *Session) reportForbidden(ctx context.Context) {
	f := &s.forbidden
	f.mu.Lock()
	if now := time.Now(); f.known == nil || now.Sub(f.asked) >= forbiddenPause {
		f.asked, f.known = now, make(chan struct{})
		go s.askForbidden(f.known)
	}
	known := f.known
	f.mu.Unlock()
	select {
	case <-known:
	case <-ctx.Done():
	}
}

func (s *Session) askForbidden(known chan<- struct{}) {
	defer close(known)
	id := rand.Text()
	came, forget := s.acks.await(id)
	defer forget()
	if s.send(control.Message{Type: control.TypeForbidden, ID: id}) != nil {
		return // nobody is there to know
	}
	select {
	case <-came:
	case <-time.After(forbiddenTimeout):
	}
}
