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

func (c *calls) begin() { c.add(1) }

func (c *calls) end() { c.add(-1) }

func (c *calls) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
	c.tell()
}

func (c *calls) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	c.tell()
}

// tell is called with mu held.
func (c *calls) tell() {
	select {
	case <-c.over:
	default:
		if c.draining && c.n == 0 {
			close(c.over)
		}
	}
}
