package sandbox

import "sync"

// acks lets senders of messages with an ID wait for the answers.
type acks struct {
	mu      sync.Mutex
	waiting map[string]chan struct{}
}

// await returns a channel that is closed when the answer to id comes. forget
// ends the wait.
func (a *acks) await(id string) (came <-chan struct{}, forget func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting == nil {
		a.waiting = map[string]chan struct{}{}
	}
	c := make(chan struct{})
	a.waiting[id] = c
	return c, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.waiting, id)
	}
}

// take ends the wait for the answer to id. An answer nobody waits for is no
// error.
func (a *acks) take(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c, ok := a.waiting[id]; ok {
		close(c)
		delete(a.waiting, id)
	}
}
