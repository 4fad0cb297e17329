package httpsse

import "sync"

// calls counts the requests whose responses are still to come. At shutdown the
// streams wait for them.
type calls struct {
	over chan struct{} // closed after drain, when there is no call

	mu       sync.Mutex
	n        int
	draining bool
}

// add notes that a call begins (1) or has ended (-1).
func (c *calls) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
	c.tellLocked()
}

func (c *calls) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	c.tellLocked()
}

func (c *calls) tellLocked() {
	select {
	case <-c.over:
	default:
		if c.draining && c.n == 0 {
			close(c.over)
		}
	}
}
