package eventstore

import (
	"context"
	"sync"
)

// Fill says that the caller has messages to come for l, and the function it returns,
// that all are in it.
func (l *Log) Fill() (done func()) {
	l.hub.fillers.add(1)
	return func() { l.hub.fillers.add(-1) }
}

// Filled waits until nobody fills any of the streams. Its error is ctx's.
func (h *Hub) Filled(ctx context.Context) error { return h.fillers.wait(ctx) }

// fillers counts who fills a Hub's streams.
type fillers struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // closed when n is 0; nil while nobody waits for it
}

func (f *fillers) add(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n += n
	if f.n == 0 && f.none != nil {
		close(f.none)
		f.none = nil
	}
}

// wait returns when nobody fills.
func (f *fillers) wait(ctx context.Context) error {
	f.mu.Lock()
	if f.n == 0 {
		f.mu.Unlock()
		return nil
	}
	if f.none == nil {
		f.none = make(chan struct{})
	}
	none := f.none
	f.mu.Unlock()
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
