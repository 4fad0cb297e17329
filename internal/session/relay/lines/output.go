package lines

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// MaxPending is how much may wait to be written, in bytes, before writers should
// wait.
const MaxPending = 1 << 20

// output is what waits to be written. Under Conn.mu.
type output struct {
	pending  [][]byte // lines, the first maybe only the rest of one
	bytes    int      // of pending
	flushing bool
	failed   bool          // the peer does not read any more
	room     chan struct{} // closed when there is room; nil while nobody waits for it
}

// tellRoom wakes those who wait to write, when they may.
func (o *output) tellRoom() {
	if o.room != nil && (o.bytes < MaxPending || o.failed) {
		close(o.room)
		o.room = nil
	}
}

// Put has a line written, its newline included: at once as far as the output takes
// it, the rest without the caller. Lines are written whole and in order. It keeps
// line. One put when the peer does not read any more is dropped.
func (c *Conn) Put(line []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out.failed {
		return
	}
	if !c.out.flushing && !c.stopped {
		n, err := c.writeNow(line)
		if err != nil {
			c.failLocked()
			return
		}
		if line = line[n:]; len(line) == 0 {
			return
		}
	}
	c.queueLocked(line)
}

func (c *Conn) queueLocked(line []byte) {
	c.out.pending = append(c.out.pending, line)
	c.out.bytes += len(line)
	if !c.out.flushing && !c.stopped {
		c.out.flushing = true
		c.flush.Go(c.write)
	}
}

// Pending is how many bytes wait to be written.
func (c *Conn) Pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.bytes
}

// Room is nil when less than MaxPending waits to be written, else closed when that
// is so again. Error: net.ErrClosed when the peer does not read any more.
func (c *Conn) Room() (<-chan struct{}, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.out.failed:
		return nil, net.ErrClosed
	case c.out.bytes < MaxPending:
		return nil, nil
	case c.out.room == nil:
		c.out.room = make(chan struct{})
	}
	return c.out.room, nil
}

// writeNow writes what the output takes without waiting.
func (c *Conn) writeNow(line []byte) (n int, err error) {
	closed := c.to.Write(func(fd uintptr) bool {
		for {
			if n, err = syscall.Write(int(fd), line); err != syscall.EINTR {
				return true
			}
		}
	})
	if err == syscall.EAGAIN {
		return 0, closed
	}
	return max(n, 0), errors.Join(closed, err)
}

// write writes what is pending.
func (c *Conn) write() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.out.pending) > 0 && !c.stopped {
		line := c.out.pending[0]
		c.mu.Unlock()
		n, err := c.cfg.Output.Write(line)
		c.mu.Lock()
		if c.out.failed { // EndOutput was called
			break
		}
		c.out.bytes -= n
		if c.out.pending[0] = line[n:]; n == len(line) {
			c.out.pending[0] = nil
			c.out.pending = c.out.pending[1:]
		}
		if err != nil && !(c.stopped && errors.Is(err, os.ErrDeadlineExceeded)) {
			c.failLocked()
		}
		c.out.tellRoom()
	}
	c.out.flushing = false
}

// failLocked notes that the peer does not read any more. Next still gives what it has
// written, and then the end.
func (c *Conn) failLocked() {
	c.dropLocked()
	_ = c.cfg.Socket.CloseRead()
}

// dropLocked has nothing written any more.
func (c *Conn) dropLocked() {
	c.out.failed, c.out.pending, c.out.bytes = true, nil, 0
	c.out.tellRoom()
}
