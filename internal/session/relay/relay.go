package relay

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/session/relay/lines"
)

// Errors of Relay.
var (
	// ErrClosed: the child's end of the socket is closed; it will not answer.
	ErrClosed = errors.New("the backend has ended")
	// ErrSuspended: Suspend was called; another Relay continues.
	ErrSuspended = errors.New("the relay to the backend was suspended")
	// ErrTooManyCalls: the child has as much to answer or to read as it may.
	ErrTooManyCalls = errors.New("too many calls in flight")
	// ErrNoQuestion: a response answers no question the child has open.
	ErrNoQuestion = errors.New("nothing was asked under this id")
)

// Config is what a Relay is made of.
type Config struct {
	// Config has in Socket our end of the child's stdout and in Output that of its stdin.
	// The Relay closes them, unless it is suspended. A MaxLine of 0 means 64 MiB. TooLong
	// and Rest are the Relay's own.
	lines.Config
	Log *slog.Logger

	// Epoch tells this Relay's calls from those of earlier Relays over the same
	// child: 0 to MaxEpoch, other than theirs.
	Epoch uint64

	MaxCalls  int // calls in flight; 0 means 100, the length of forgejo-mcp's queue
	MaxQueued int // bytes waiting to be taken by Next beyond which the child is not read, and bytes waiting for the child; 0 means 64 MiB

	// Other takes what the child says that belongs to no call in flight, and
	// reports whether somebody will hear it. It must neither wait nor use the Relay.
	Other func(raw []byte) bool

	// Answering, if set, is called before an answer of the child's is taken: what is known
	// of its work up to then is to be told now, with Touch.
	Answering func()

	// State, if set, is what an earlier Relay over the same child left.
	State *State
	// Resync says that the last Relay over this child left no State, so that the
	// first line may be the rest of one. The rest of a message is never a message,
	// so it is dropped as such; a whole first line is taken.
	Resync bool

	Now func() time.Time
	// AfterFunc is time.AfterFunc, but returns the timer's Stop; nil means that.
	AfterFunc func(d time.Duration, f func()) (stop func() bool)
}

// Ids are exact as floating-point numbers, as which JavaScript reads them: an
// epoch of 13 bits above a counter of 40.
const (
	counterBits = 40
	// MaxEpoch is the highest Config.Epoch.
	MaxEpoch = 1<<13 - 1
)

const (
	// maxStanding bounds the standing calls.
	maxStanding = 100
	// maxAbandoned bounds Relay.abandoned.
	maxAbandoned = 1000
	// abandonAfter is how long a cancelled call keeps its slot without an answer.
	abandonAfter = 5 * time.Minute
)

// Relay is the broker's side of one running child.
type Relay struct {
	cfg     Config
	child   *lines.Conn
	counter atomic.Uint64 // of the last id
	faults  lines.Faults
	resync  bool // the reader's: nothing has come since a Relay was lost

	done      chan struct{} // closed by Close
	suspended chan struct{} // closed by Suspend
	halted    chan struct{} // closed when nothing is read any more

	mu       sync.Mutex
	closed   bool
	after    func() // of AfterDone
	paused   bool
	restored []*Call
	calls    map[uint64]*Call    // the child has yet to answer them, or to be sent them
	answered map[*Call]bool      // their responses have yet to be taken
	standing int                 // of calls
	queued   int                 // bytes that wait for Next, or are held
	asked    map[string]Question // by their ids
	turns    turns
	// abandoned are cancelled calls that lost their slot. The child may still work
	// on them, and answer or not.
	abandoned  map[uint64]bool
	overflowed bool          // there were too many of them to remember, so the child is never known to be idle
	changed    chan struct{} // closed by tellLocked; nil while awaitLocked does not wait
}

// New starts relaying. It fails only when an end of ours is closed.
func New(cfg Config) (*Relay, error) {
	cfg.MaxLine = cmp.Or(cfg.MaxLine, 64<<20)
	cfg.MaxCalls = cmp.Or(cfg.MaxCalls, 100)
	cfg.MaxQueued = cmp.Or(cfg.MaxQueued, 64<<20)
	if cfg.AfterFunc == nil {
		cfg.AfterFunc = func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
	}
	r := &Relay{
		cfg: cfg, faults: lines.Faults{Log: cfg.Log, AfterFunc: cfg.AfterFunc}, resync: cfg.Resync, done: make(chan struct{}), suspended: make(chan struct{}), halted: make(chan struct{}),
		calls: map[uint64]*Call{}, answered: map[*Call]bool{}, asked: map[string]Question{}, abandoned: map[uint64]bool{},
	}
	cfg.TooLong = r.tooLong
	if cfg.State != nil {
		cfg.Rest = &cfg.State.Rest
	}
	var err error
	if r.child, err = lines.New(cfg.Config); err != nil {
		return nil, err
	}
	if cfg.State != nil {
		r.restore(cfg.State)
	}
	go r.read()
	return r, nil
}

// Done is closed when the child can no longer be spoken to.
func (r *Relay) Done() <-chan struct{} { return r.done }

// AfterDone has f called in a goroutine of its own once Done is closed, so that none
// has to wait for it. It replaces one that was not called yet.
func (r *Relay) AfterDone(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		go f()
	}
	r.after = f
}

// Close ends the relay; calls in flight see ErrClosed.
func (r *Relay) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.closed = true
	close(r.done)
	r.tellLocked()
	if r.after != nil {
		go r.after()
	}
	r.stopTimersLocked()
	if !r.paused { // else another Relay has it
		r.child.Close()
	}
}

// HangUp closes the child's input. Calls in flight may still be answered; new ones fail with
// ErrClosed.
func (r *Relay) HangUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.usableLocked() == nil {
		r.child.EndOutput()
	}
}

func (r *Relay) stopTimersLocked() {
	for _, c := range r.calls {
		c.stopTimerLocked()
	}
	r.faults.Stop()
}

// usableLocked is nil while the child can be spoken to.
func (r *Relay) usableLocked() error {
	switch {
	case r.closed:
		return ErrClosed
	case r.paused:
		return ErrSuspended
	}
	return nil
}

// InFlight counts the calls the child has yet to answer, those whose client has
// left or cancelled among them, without the standing ones.
func (r *Relay) InFlight() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.calls) - r.standing
}

// Deserted reports whether calls are in flight and nobody waits for any of them: their
// clients have left, cancelled, or been told that there is no answer.
func (r *Relay) Deserted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.calls {
		if !c.standing && !c.deafLocked() {
			return false
		}
	}
	return len(r.calls) > r.standing
}

// Pending returns the calls that InFlight counts, oldest first.
func (r *Relay) Pending() []*Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.listLocked(func(c *Call) bool { return !c.standing })
}

// Calls returns the calls that the child has and has yet to answer, standing ones
// among them, oldest first.
func (r *Relay) Calls() []*Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.listLocked(func(c *Call) bool { return c.sent })
}

func (r *Relay) listLocked(is func(*Call) bool) []*Call {
	calls := slices.DeleteFunc(slices.Collect(maps.Values(r.calls)), func(c *Call) bool { return !is(c) })
	slices.SortFunc(calls, func(a, b *Call) int { return cmp.Compare(a.ID, b.ID) })
	return calls
}

// Restored returns the calls of Config.State, oldest first. Their owner takes what
// comes with Next, as for those that Start returns.
func (r *Relay) Restored() []*Call { return slices.Clone(r.restored) }

// Drain waits until the child works on no call but standing ones, so that it has
// answered the cancelled ones too, also those that have lost their slot. It keeps
// nobody from starting another. Errors: ErrClosed, ErrSuspended, or ctx's.
func (r *Relay) Drain(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.awaitLocked(ctx, func() bool { return len(r.calls)-r.standing+len(r.abandoned) == 0 && !r.overflowed })
}

// awaitLocked waits until ready returns true, which tellLocked has it asked again. Releases
// the lock while it waits. Errors are those of Drain.
func (r *Relay) awaitLocked(ctx context.Context, ready func() bool) error {
	for {
		if err := r.usableLocked(); err != nil || ready() {
			return err
		}
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed := r.changed
		r.mu.Unlock()
		err := r.await(ctx, changed)
		r.mu.Lock()
		if err != nil {
			return err
		}
	}
}

func (r *Relay) tellLocked() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}
