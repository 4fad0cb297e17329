package forgeproxy

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
)

// chunk is as many bytes of a body as are looked at together. ReverseProxy copies by as
// many.
const chunk = 64 << 10

// buffers is an httputil.BufferPool.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if v, ok := b.pool.Get().(*[]byte); ok {
		return *v
	}
	return make([]byte, chunk)
}

func (b *buffers) Put(buf []byte) { b.pool.Put(&buf) }

// guard keeps the token out of what the backend gets of an answer. An error means that it
// is to get none of it.
func (p *Proxy) guard(resp *http.Response) error {
	if encoding := resp.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return errors.New("the forge's answer is compressed, which was not asked for")
	}
	m := p.tokens.marks()
	for name, values := range resp.Header {
		for _, v := range values {
			if m.in([]byte(v)) || m.in([]byte(name)) {
				return errLeaked
			}
		}
	}
	resp.Header.Del("Set-Cookie") // a session of the forge's, which would outlive this one
	resp.Header.Del("Trailer")
	if resp.Body == http.NoBody || resp.ContentLength == 0 {
		return nil
	}
	if m != nil {
		if err := p.guardBody(resp, m); err != nil {
			return err
		}
	}
	if ranged, ok := resp.Request.Context().Value(rangeKey{}).(string); ok {
		takePart(resp, ranged)
	}
	return nil
}

func (p *Proxy) guardBody(resp *http.Response, m *marks) error {
	body := &guarded{src: resp.Body, marks: m, buffers: &p.buffers, leaked: func() { p.leaked(resp.Request) }}
	resp.Body = body
	if resp.ContentLength > 0 {
		body.fill() // all is there in a moment, and an error can still be told
		if body.err == errLeaked {
			return errLeaked
		}
	}
	return nil
}

// guarded reads src up to a mark. What could be the beginning of one waits for what
// comes next, and nothing else does.
type guarded struct {
	src     io.ReadCloser
	marks   *marks
	buffers *buffers
	buf     []byte // one of buffers; nil until it is needed
	ready   []byte // of buf, may go on
	held    []byte // may begin a mark
	err     error  // for when ready has gone on
	leaked  func()
}

func (g *guarded) Read(p []byte) (int, error) {
	for len(g.ready) == 0 {
		if g.err == errLeaked {
			g.leaked()
		}
		if g.err != nil {
			return 0, g.err
		}
		if len(p) < chunk {
			g.fill()
		} else if n := g.look(p); n > 0 { // where it is wanted, which saves a copy
			return n, nil
		}
	}
	n := copy(p, g.ready)
	g.ready = g.ready[n:]
	return n, nil
}

func (g *guarded) fill() {
	if g.buf == nil {
		g.buf = g.buffers.Get()
	}
	g.ready = g.buf[:g.look(g.buf)]
}

// look reads what comes next into buf, of a chunk at least, and returns how much of it
// may go on.
func (g *guarded) look(buf []byte) int {
	n := copy(buf, g.held)
	more, err := g.src.Read(buf[n:])
	n += more
	g.held, g.err = g.held[:0], err
	switch {
	case g.marks.in(buf[:n]):
		g.err = errLeaked
		return 0
	case err == nil:
		may := n - g.marks.partial(buf[:n])
		g.held = append(g.held, buf[may:n]...)
		return may
	}
	return n
}

func (g *guarded) Close() error {
	if g.buf != nil {
		g.buffers.Put(g.buf)
	}
	g.buf, g.ready, g.held, g.err = nil, nil, nil, http.ErrBodyReadAfterClose
	return g.src.Close()
}
