package relay

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/mcp"
)

// Errors of Relay.
var (
	// ErrClosed: the child's end of the socket is closed; it will not answer.
	ErrClosed = errors.New("the backend has ended")
	// ErrTooManyCalls: the child has MaxCalls calls to answer already.
	ErrTooManyCalls = errors.New("too many calls in flight")
	// ErrNoQuestion: a response answers no question the child has open.
	ErrNoQuestion = errors.New("nothing was asked under this id")
)

// Config is what a Relay is made of.
type Config struct {
	Conn     net.Conn // our end of the child's stdin and stdout; Relay closes it
	Log      *slog.Logger
	MaxLine  int              // longest line taken from the child, bytes; 0 means 64 MiB
	MaxCalls int              // calls in flight; 0 means 100, the length of forgejo-mcp's queue
	Now      func() time.Time // nil means time.Now

	// Other takes what the child says that belongs to no call in flight, and
	// reports whether somebody will hear it. It must not wait.
	Other func(raw []byte) bool
}

// Relay is the broker's side of one running child.
type Relay struct {
	conn     net.Conn
	log      *slog.Logger
	maxLine  int
	maxCalls int
	other    func([]byte) bool
	now      func() time.Time
	out      chan []byte
	done     chan struct{}
	close    sync.Once

	mu    sync.Mutex
	next  uint64
	calls map[uint64]*Call
	asked map[string]question // by the id we gave it
	// cancelled are calls that left calls for their client's cancellation. The
	// child may still work on them, and answer or not.
	cancelled map[uint64]bool
	drained   chan struct{} // closed when neither is left; nil while nobody waits for it
}

// maxCancelled bounds Relay.cancelled; a call cancelled beyond it stays in flight.
const maxCancelled = 1000

// question is a request of the child that a client has yet to answer.
type question struct {
	id   json.RawMessage // the child's
	call *Call           // nil when it was asked beside all calls
}

// New starts relaying over cfg.Conn.
func New(cfg Config) *Relay {
	if cfg.MaxLine == 0 {
		cfg.MaxLine = 64 << 20
	}
	if cfg.MaxCalls == 0 {
		cfg.MaxCalls = 100
	}
	if cfg.Other == nil {
		cfg.Other = func([]byte) bool { return false }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	r := &Relay{
		conn: cfg.Conn, log: cfg.Log, maxLine: cfg.MaxLine, maxCalls: cfg.MaxCalls, other: cfg.Other, now: cfg.Now,
		out: make(chan []byte, 16), done: make(chan struct{}),
		calls: map[uint64]*Call{}, asked: map[string]question{}, cancelled: map[uint64]bool{},
	}
	go r.write()
	go r.read()
	return r
}

// Done is closed when the child can no longer be spoken to.
func (r *Relay) Done() <-chan struct{} { return r.done }

// Close ends the relay; calls in flight see ErrClosed.
func (r *Relay) Close() {
	r.close.Do(func() {
		close(r.done)
		r.conn.Close()
	})
}

// InFlight counts the calls the child has yet to answer, those whose client has
// left among them.
func (r *Relay) InFlight() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.calls)
}

// Calls returns the calls that InFlight counts.
func (r *Relay) Calls() []*Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.calls))
}

// Drain waits until the child works on no call, so that it has answered the
// cancelled ones too. It keeps nobody from starting another. ErrClosed: the child
// has ended.
func (r *Relay) Drain(ctx context.Context) error {
	r.mu.Lock()
	if len(r.calls)+len(r.cancelled) == 0 {
		r.mu.Unlock()
		return nil
	}
	if r.drained == nil {
		r.drained = make(chan struct{})
	}
	drained := r.drained
	r.mu.Unlock()
	select {
	case <-drained:
		return nil
	case <-r.done:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Start sends a request to the child. The caller takes what comes with
// Call.Next. A caller that stops listening leaves the call in flight until the
// child answers.
func (r *Relay) Start(ctx context.Context, request mcp.Message) (*Call, error) {
	c := &Call{Method: request.Method, Began: r.now(), relay: r, clientID: request.ID(), events: make(chan []byte, eventBuffer), final: make(chan []byte, 1)}
	if c.Method == mcp.MethodToolsCall {
		c.Tool = request.ParamString("name")
	}
	if err := r.add(c); err != nil {
		return nil, err
	}
	id := json.RawMessage(strconv.FormatUint(c.id, 10))
	if token := request.Param("_meta", "progressToken"); token != nil {
		c.progressToken = token
		request = request.WithParam(id, "_meta", "progressToken")
	}
	if err := r.send(ctx, request.WithID(id)); err != nil {
		r.remove(c)
		return nil, err
	}
	return c, nil
}

// Notify sends a client's notification. A cancellation is passed on under the
// child's id for the call and ends the call's stream; one that names no call in
// flight is dropped.
func (r *Relay) Notify(ctx context.Context, n mcp.Message) error {
	if n.Method != mcp.MethodCancelled {
		return r.send(ctx, n.Raw)
	}
	c := r.byClientID(n.Param("requestId"))
	if c == nil {
		return nil
	}
	id := json.RawMessage(strconv.FormatUint(c.id, 10))
	err := r.send(ctx, n.WithParam(id, "requestId").Raw)
	if r.cancel(c) {
		r.remove(c)
	}
	c.finish(nil)
	return err
}

// Respond passes a client's answer to the question it belongs to.
func (r *Relay) Respond(ctx context.Context, response mcp.Message) error {
	var id string
	if json.Unmarshal(response.ID(), &id) != nil {
		return ErrNoQuestion
	}
	r.mu.Lock()
	q, ok := r.asked[id]
	delete(r.asked, id)
	r.mu.Unlock()
	if !ok {
		return ErrNoQuestion
	}
	return r.send(ctx, response.WithID(q.id))
}

func (r *Relay) add(c *Call) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.calls) >= r.maxCalls {
		return ErrTooManyCalls
	}
	r.next++
	c.id = r.next
	r.calls[c.id] = c
	return nil
}

// cancel notes that the child may still work on a call that is about to be
// removed, and reports whether there was room to.
func (r *Relay) cancel(c *Call) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.cancelled) >= maxCancelled {
		return false
	}
	if r.calls[c.id] == c { // else it has been answered meanwhile
		r.cancelled[c.id] = true
	}
	return true
}

// answered notes the child's answer to a cancelled call.
func (r *Relay) answered(id uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.cancelled, id)
	r.tellDrained()
}

// tellDrained is called with mu held.
func (r *Relay) tellDrained() {
	if len(r.calls)+len(r.cancelled) == 0 && r.drained != nil {
		close(r.drained)
		r.drained = nil
	}
}

// remove forgets a call and what the child asked during it.
func (r *Relay) remove(c *Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.calls, c.id)
	r.tellDrained()
	for id, q := range r.asked {
		if q.call == c {
			delete(r.asked, id)
		}
	}
}

func (r *Relay) byClientID(id json.RawMessage) *Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.calls {
		if string(c.clientID) == string(id) {
			return c
		}
	}
	return nil
}

// only returns the call in flight when there is just one.
func (r *Relay) only() *Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.calls) != 1 {
		return nil
	}
	for _, c := range r.calls {
		return c
	}
	return nil
}

// send queues one message for the child. Lines are written whole or not at all.
func (r *Relay) send(ctx context.Context, raw []byte) error {
	select {
	case <-r.done:
		return ErrClosed
	default:
	}
	select {
	case <-r.done:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	case r.out <- mcp.Line(raw):
		return nil
	}
}

func (r *Relay) write() {
	for {
		select {
		case <-r.done:
			return
		case line := <-r.out:
			if _, err := r.conn.Write(line); err != nil {
				r.Close()
				return
			}
		}
	}
}
