package relay

import (
	"context"
	"errors"
	"os"
	"syscall"
)

// maxOutput is how much waits for the child to read, in bytes, before senders wait.
const maxOutput = 1 << 20

// output is what waits for the child to read. Under Relay.mu.
type output struct {
	pending [][]byte      // lines, the first maybe only the rest of one
	bytes   int           // of pending
	busy    bool          // flush runs
	failed  bool          // the child does not read any more
	room    chan struct{} // closed when there is room; nil while nobody waits for it
}

// awaitOutput waits until there is room for a line. Called with mu held, which it
// releases while it waits.
func (r *Relay) awaitOutput(ctx context.Context) error {
	for {
		if err := r.usable(); err != nil {
			return err
		}
		if r.out.bytes < maxOutput {
			return nil
		}
		if r.out.room == nil {
			r.out.room = make(chan struct{})
		}
		room := r.out.room
		r.mu.Unlock()
		var err error
		select {
		case <-room:
		case <-r.done:
		case <-r.suspended:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		r.mu.Lock()
		if err != nil {
			return err
		}
	}
}

// put has a line written: at once as far as the socket takes it, the rest by flush.
// Lines are written whole and in order. Called with mu held.
func (r *Relay) put(line []byte) {
	if r.out.failed || r.closed {
		return
	}
	if !r.out.busy && !r.paused {
		n, err := r.writeNow(line)
		if err != nil {
			r.fail()
			return
		}
		if line = line[n:]; len(line) == 0 {
			return
		}
		r.startFlush()
	}
	r.out.pending = append(r.out.pending, line)
	r.out.bytes += len(line)
}

// reply is put for what answers the child. It is dropped when the child does not
// read while it waits for us. Called with mu held.
func (r *Relay) reply(line []byte, method string) {
	if r.out.bytes >= maxOutput {
		r.unread.note("method", method)
		return
	}
	r.put(line)
}

// writeNow writes what the socket takes without waiting.
func (r *Relay) writeNow(line []byte) (n int, err error) {
	closed := r.raw.Write(func(fd uintptr) bool {
		for {
			n, err = syscall.Write(int(fd), line)
			if err != syscall.EINTR {
				return true
			}
		}
	})
	if err == syscall.EAGAIN {
		return 0, closed
	}
	return max(n, 0), errors.Join(closed, err)
}

// startFlush is called with mu held.
func (r *Relay) startFlush() {
	r.out.busy = true
	r.work.Add(1)
	go r.flush()
}

// flush writes what is pending.
func (r *Relay) flush() {
	defer r.work.Done()
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.out.pending) > 0 && !r.closed && !r.paused {
		line := r.out.pending[0]
		r.mu.Unlock()
		n, err := r.cfg.Conn.Write(line)
		r.mu.Lock()
		if r.out.failed {
			break
		}
		r.out.bytes -= n
		if r.out.pending[0] = line[n:]; n == len(line) {
			r.out.pending[0] = nil
			r.out.pending = r.out.pending[1:]
		}
		r.out.tellRoom()
		if err != nil && !(r.paused && errors.Is(err, os.ErrDeadlineExceeded)) {
			r.fail()
		}
	}
	r.out.busy = false
}

func (o *output) tellRoom() {
	if o.room != nil && (o.bytes < maxOutput || o.failed) {
		close(o.room)
		o.room = nil
	}
}

// fail notes that the child does not read any more. What it has written is still
// taken; the end of that closes the relay. Called with mu held.
func (r *Relay) fail() {
	r.out.failed, r.out.pending, r.out.bytes = true, nil, 0
	r.out.tellRoom()
	_ = r.cfg.Conn.CloseRead()
}
