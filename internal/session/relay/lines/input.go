package lines

import (
	"bytes"
	"io"
	"sync"
	"syscall"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

const (
	inputBuffer = 64 << 10 // bytes read at once
	maxPooled   = 1 << 20  // larger buffers are not kept
)

// inputs are buffers for all Conns of the process: an idle one holds none.
var inputs = sync.Pool{New: func() any { b := make([]byte, inputBuffer); return &b }}

// input cuts what a socket yields into lines. A line is copied only as often as
// the buffer it grows in doubles.
type input struct {
	max      int // bytes of a line
	tooLong  func(bytes int, about mcp.Outline)
	skipping bool // up to the next newline
	skipped  int  // bytes of the line that is skipped
	outline  mcp.Outline

	held     *[]byte // nil while nothing is
	from, to int     // what is held
	seen     int     // no newline stands between from and seen

	n     int
	err   error
	reset bool // the peer left without reading everything
}

// next returns the next whole line that is held.
func (in *input) next() (line []byte, ok bool) {
	for in.held != nil {
		buf := *in.held
		i := bytes.IndexByte(buf[in.seen:in.to], '\n')
		if i < 0 {
			in.seen = in.to
			in.skip()
			return nil, false
		}
		end := in.seen + i
		line = buf[in.from:end]
		in.from, in.seen = end+1, end+1
		if !in.skipping && len(line) <= in.max {
			return line, true
		}
		in.drop(line)
		in.tooLong(in.skipped, in.outline)
		in.skipping, in.skipped, in.outline = false, 0, mcp.Outline{}
	}
	return nil, false
}

// skip drops what is held of a line that is not wanted.
func (in *input) skip() {
	if in.skipping || in.to-in.from > in.max {
		in.drop((*in.held)[in.from:in.to])
		in.from = in.to
	}
}

func (in *input) drop(part []byte) {
	in.skipping = true
	in.skipped += len(part)
	_, _ = in.outline.Write(part)
}

// last returns what no newline ends, once.
func (in *input) last() []byte {
	if in.held == nil || in.skipping {
		return nil
	}
	line := (*in.held)[in.from:in.to]
	in.from = in.to
	return line
}

func (in *input) rest() Rest {
	r := Rest{Skipping: in.skipping, Skipped: in.skipped, Outline: in.outline}
	if in.held != nil {
		r.Input = bytes.Clone((*in.held)[in.from:in.to])
	}
	return r
}

func (in *input) restore(r Rest) {
	in.skipping, in.skipped, in.outline = r.Skipping, r.Skipped, r.Outline
	if len(r.Input) > 0 {
		held := bytes.Clone(r.Input)
		in.held, in.to = &held, len(held)
	}
}

// fill waits for more of what the socket yields.
func (in *input) fill(raw syscall.RawConn) error {
	in.makeRoom()
	if err := raw.Read(in.read); err != nil {
		return err // its deadline, or it is closed
	}
	if in.err == syscall.ECONNRESET && !in.reset {
		// The kernel says so before it hands out what the peer had written.
		in.reset = true
		return in.fill(raw)
	}
	if in.n == 0 && in.err == nil {
		in.err = io.EOF
	}
	if in.err == nil {
		in.to += in.n
	}
	return in.err
}

// read is for syscall.RawConn.Read.
func (in *input) read(fd uintptr) bool {
	if in.held == nil {
		in.held = inputs.Get().(*[]byte)
	}
	for {
		switch in.n, in.err = syscall.Read(int(fd), (*in.held)[in.to:]); in.err {
		case syscall.EINTR:
		case syscall.EAGAIN:
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
	case in.held == nil:
	case in.from == in.to:
		in.release()
	case in.to < len(*in.held):
	case in.from > 0:
		buf := *in.held
		copy(buf, buf[in.from:in.to])
		in.to, in.seen, in.from = in.to-in.from, in.seen-in.from, 0
	default:
		grown := make([]byte, min(2*in.to, in.max)+inputBuffer)
		copy(grown, (*in.held)[:in.to])
		*in.held = grown
	}
}

func (in *input) release() {
	if n := len(*in.held); n >= inputBuffer && n <= maxPooled {
		inputs.Put(in.held)
	}
	in.held, in.from, in.to, in.seen = nil, 0, 0, 0
}
