package relay

import (
	"bytes"
	"io"
	"sync"
	"syscall"
)

const (
	inputBuffer = 64 << 10 // bytes read at once
	maxPooled   = 1 << 20  // larger buffers are not kept
)

// inputs are buffers for all relays of the process: an idle one holds none.
var inputs = sync.Pool{New: func() any { b := make([]byte, inputBuffer); return &b }}

// input cuts what a socket yields into lines. A line is copied only as often as
// the buffer it grows in doubles.
type input struct {
	max      int  // bytes of a line
	skipping bool // up to the next newline
	skipped  int  // bytes of the line that is skipped
	resync   bool // skipping, and not for the line's length

	pooled   *[]byte // nil while nothing is held
	from, to int     // what is held
	seen     int     // no newline stands between from and seen

	n     int
	err   error
	reset bool // the peer left without reading everything
}

// next returns the next whole line that is held, good until fill is called.
// skipped: a line of that many bytes was over the limit instead.
func (in *input) next() (line []byte, skipped int, ok bool) {
	for in.pooled != nil {
		buf := *in.pooled
		i := bytes.IndexByte(buf[in.seen:in.to], '\n')
		if i < 0 {
			in.seen = in.to
			in.skip()
			return nil, 0, false
		}
		end := in.seen + i
		line, skipped = buf[in.from:end], in.skipped+end-in.from
		in.from, in.seen = end+1, end+1
		switch {
		case in.resync:
			in.skipping, in.skipped, in.resync = false, 0, false
		case in.skipping, skipped > in.max:
			in.skipping, in.skipped = false, 0
			return nil, skipped, false
		default:
			return line, 0, true
		}
	}
	return nil, 0, false
}

// skip drops what is held of a line that is not wanted.
func (in *input) skip() {
	if in.skipping || in.to-in.from > in.max {
		in.skipping = true
		in.skipped += in.to - in.from
		in.from = in.to
	}
}

// rest is what is held beyond the last whole line.
func (in *input) rest() []byte {
	if in.pooled == nil {
		return nil
	}
	return (*in.pooled)[in.from:in.to]
}

// hold puts back what another input held.
func (in *input) hold(rest []byte) {
	if len(rest) > 0 {
		in.pooled, in.to = &rest, len(rest)
	}
}

// fill waits for more of what the socket yields. io.EOF: nothing more comes.
func (in *input) fill(raw syscall.RawConn) error {
	in.makeRoom()
	if err := raw.Read(in.read); err != nil {
		return err // its deadline, or it is closed
	}
	if in.err == syscall.ECONNRESET && !in.reset {
		// The kernel says so before it hands out what the peer had written.
		in.reset, in.err = true, nil
		return in.fill(raw)
	}
	if in.n <= 0 && in.err == nil {
		in.err = io.EOF
	}
	if in.err == nil {
		in.to += in.n
	}
	return in.err
}

// read is for syscall.RawConn.Read.
func (in *input) read(fd uintptr) bool {
	if in.pooled == nil {
		in.pooled = inputs.Get().(*[]byte)
	}
	for {
		switch in.n, in.err = syscall.Read(int(fd), (*in.pooled)[in.to:]); in.err {
		case syscall.EINTR:
		case syscall.EAGAIN:
			in.err = nil
			if in.to == 0 {
				in.release()
			}
			return false
		default:
			return true
		}
	}
}

// makeRoom leaves room to read into, or no buffer when nothing is held.
func (in *input) makeRoom() {
	switch {
	case in.pooled == nil:
	case in.from == in.to:
		in.release()
	case in.to < len(*in.pooled):
	case in.from > 0:
		buf := *in.pooled
		copy(buf, buf[in.from:in.to])
		in.to, in.seen, in.from = in.to-in.from, in.seen-in.from, 0
	default:
		grown := make([]byte, min(2*in.to, in.max)+inputBuffer)
		copy(grown, (*in.pooled)[:in.to])
		*in.pooled = grown
	}
}

func (in *input) release() {
	if len(*in.pooled) <= maxPooled && len(*in.pooled) >= inputBuffer {
		inputs.Put(in.pooled)
	}
	in.pooled, in.from, in.to, in.seen = nil, 0, 0, 0
}
