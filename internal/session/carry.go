package session

import (
	"context"
	"strconv"
	"sync"

	"github.com/fjmcp/fjmcp-broker/internal/stream"
)

// Carry says that the caller takes what c yields to l, one of the session's
// streams, and the function it returns, that it takes no more. A call that is
// suspended meanwhile is carried on by the next process.
func (s *Session) Carry(c *Call, l *stream.Log) (done func()) {
	c.SetTag(strconv.Itoa(l.ID()))
	s.carriers.add(1)
	return func() { s.carriers.add(-1) }
}

// Carried is the stream that the process before carried a restored call to; nil
// when its client cannot come back for it.
func (s *Session) Carried(c *Call) *stream.Log {
	id, err := strconv.Atoi(c.Tag())
	if err != nil {
		return nil
	}
	return s.streams.Log(id)
}

// carriers counts who carries calls to a session's streams.
type carriers struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // closed when n is 0; nil while nobody waits for it
}

func (c *carriers) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
	if c.n == 0 && c.none != nil {
		close(c.none)
		c.none = nil
	}
}

// wait returns when nobody carries.
func (c *carriers) wait(ctx context.Context) error {
	c.mu.Lock()
	if c.n == 0 {
		c.mu.Unlock()
		return nil
	}
	if c.none == nil {
		c.none = make(chan struct{})
	}
	none := c.none
	c.mu.Unlock()
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
