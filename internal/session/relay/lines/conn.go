package lines

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

// ErrStopped: Stop was called.
var ErrStopped = errors.New("the conversation was stopped")

// Config is what a Conn is made of. All fields but Rest are required.
type Config struct {
	Socket  *net.UnixConn // a stream socket to read from; Close closes it
	Output  Output        // to write to; Close closes it too
	MaxLine int           // bytes

	// TooLong is called by Next for a longer line, which it skips: with its bytes and with
	// what it is about.
	TooLong func(bytes int, about mcp.Outline)

	// Rest, if set, is what an earlier Conn over the same socket left.
	Rest *Rest
}

// Output is what lines are written to: a pipe or a socket, which does not block.
type Output interface {
	syscall.Conn
	io.WriteCloser
	SetWriteDeadline(time.Time) error
}

// Rest is what a stopped Conn had yet to do.
type Rest struct {
	Input    []byte      `json:"input,omitempty"`    // read and not yet taken
	Skipping bool        `json:"skipping,omitempty"` // Input begins within a line that is skipped
	Skipped  int         `json:"skipped,omitempty"`  // bytes of that line so far
	Outline  mcp.Outline `json:"outline,omitzero"`   // and what it is about
	Output   []byte      `json:"output,omitempty"`   // not yet written; may begin within a line
}

// Conn reads and writes lines. One goroutine reads; any may write.
type Conn struct {
	cfg   Config
	from  syscall.RawConn
	to    syscall.RawConn
	in    input          // the reader's
	flush sync.WaitGroup // whoever writes what the socket did not take at once

	mu      sync.Mutex
	stopped bool
	out     output
}

// New returns a Conn over cfg.Socket and cfg.Output. It fails only when one of them
// is closed.
func New(cfg Config) (*Conn, error) {
	c := &Conn{cfg: cfg}
	var err error
	if c.from, err = cfg.Socket.SyscallConn(); err != nil {
		return nil, err
	}
	if c.to, err = cfg.Output.SyscallConn(); err != nil {
		return nil, err
	}
	c.in.max, c.in.tooLong = cfg.MaxLine, cfg.TooLong
	if rest := cfg.Rest; rest != nil {
		c.in.restore(*rest)
		if len(rest.Output) > 0 {
			c.mu.Lock()
			c.queueLocked(rest.Output)
			c.mu.Unlock()
		}
	}
	return c, nil
}

// Next waits for the next line and returns it without its newline, good until the
// next Next. Errors: ErrStopped; any other means that the peer has closed its end
// or Close was called, and comes after what the peer wrote without a newline.
func (c *Conn) Next() ([]byte, error) {
	for {
		if line, ok := c.in.next(); ok {
			return line, nil
		}
		err := c.in.fill(c.from)
		if err == nil {
			continue
		}
		if c.isStopped() {
			return nil, ErrStopped
		}
		if line := c.in.last(); len(line) > 0 {
			return line, nil
		}
		return nil, err
	}
}

func (c *Conn) isStopped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopped
}

// Stop ends a Next that waits, and all writing, and closes nothing. Rest follows.
func (c *Conn) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	_ = c.setDeadlineLocked(time.Unix(1, 0))
}

// Rest returns, after Stop and the last Next, what has yet to be done. What was put
// after Stop is in it. The Conn is of no use any more. An error means that there is
// nobody to do it for.
func (c *Conn) Rest() (Rest, error) {
	c.flush.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.setDeadlineLocked(time.Time{}); err != nil {
		return Rest{}, err
	}
	if c.out.failed {
		return Rest{}, net.ErrClosed
	}
	rest := c.in.rest()
	rest.Output = slices.Concat(c.out.pending...)
	return rest, nil
}

func (c *Conn) setDeadlineLocked(t time.Time) error {
	return errors.Join(c.cfg.Socket.SetReadDeadline(t), c.cfg.Output.SetWriteDeadline(t))
}

// EndOutput closes what the Conn writes to, and drops what waits to be written. Next still
// gives what the peer says to that.
func (c *Conn) EndOutput() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropLocked()
	c.cfg.Output.Close()
}

// Close closes what the Conn reads from and writes to.
func (c *Conn) Close() {
	c.cfg.Socket.Close()
	c.cfg.Output.Close()
}
