package eventstore

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	// maxLogs bounds how many finished streams a Hub remembers.
	maxLogs = 64
	// overhead is what a message costs besides its bytes.
	overhead = 64
	// ceiling bounds, in bytes, what followers have yet to be told in all streams of
	// a Hub, when each of them waits for one large message.
	ceiling = 64 << 20
	// nameLength is that of a Hub's name.
	nameLength = 6
)

// Hub holds the streams of one session.
type Hub struct {
	limit int    // bytes kept in all logs together, besides what followers have yet to be told
	name  string // begins the event ids, so that those of another Hub are none of this one's

	mu    sync.Mutex
	next  int
	logs  map[int]*Log
	order []*Log // oldest first
	bytes int    // of all messages
	owed  int    // of those that a follower has yet to be told

	own       *Log      // the stream at GET
	delivered int       // position in own up to which a listener was told
	listener  *Follower // of own; nil without one

	filling int           // how many have messages to come for a stream
	changed chan struct{} // closed and replaced when there is room, or nobody fills a stream
}

// NewHub returns a Hub that keeps at most limit bytes of messages. What a follower
// has yet to be told is kept beyond it.
func NewHub(limit int) *Hub {
	h := newHub(limit, strings.ToLower(rand.Text()[:nameLength]))
	h.own = h.NewLog("")
	return h
}

func newHub(limit int, name string) *Hub {
	return &Hub{limit: limit, name: name, logs: map[int]*Log{}, changed: make(chan struct{})}
}

// Own is the stream for messages that belong to no request.
func (h *Hub) Own() *Log { return h.own }

// Listen makes the caller the one listener of the Hub's own stream, from position
// next on, or if that is negative after what any listener was told. A message goes
// to one stream only: who listened before is replaced.
func (h *Hub) Listen(next int) *Follower {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listener != nil {
		close(h.listener.replaced)
	}
	if next < 0 {
		next = h.delivered
	}
	h.listener = h.own.followLocked(next)
	h.listener.replaced = make(chan struct{})
	return h.listener
}

// Heard reports whether somebody listens to the Hub's own stream.
func (h *Hub) Heard() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.listener != nil
}

// Close ends all streams but some.
func (h *Hub) Close(but ...*Log) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.logs {
		if !slices.Contains(but, l) {
			l.closeLocked()
		}
	}
	h.trimLocked()
}

// NewLog starts a new stream. Its event ids carry label, of letters, digits, "_", "."
// and "-", or none if that is empty; see Label.
func (h *Hub) NewLog(label string) *Log {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.addLocked(h.next, label)
	h.trimLocked()
	return l
}

// addLocked enters a stream under an id. Restore, whose Hub nobody else knows
// yet, need not lock.
func (h *Hub) addLocked(id int, label string) *Log {
	l := &Log{hub: h, id: id, label: label, followers: map[*Follower]bool{}, changed: make(chan struct{})}
	h.next = max(h.next, id+1)
	h.logs[id] = l
	h.order = append(h.order, l)
	return l
}

// Log returns the stream of an id, nil when it has been deleted.
func (h *Hub) Log(id int) *Log {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.logs[id]
}

// After finds the stream that an event id belongs to and the position after
// that event. ok is false when the id is none of this Hub's or its stream has
// been deleted.
func (h *Hub) After(eventID string) (l *Log, next int, ok bool) {
	parts := strings.SplitN(eventID, "-", 4) // as Log.eventID makes it
	if len(parts) < 3 || parts[0] != h.name {
		return nil, 0, false
	}
	id, err := strconv.Atoi(parts[1])
	seq, err2 := strconv.Atoi(parts[2])
	if err != nil || err2 != nil {
		return nil, 0, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	l = h.logs[id]
	if l == nil || seq < 0 || seq >= l.end() {
		return nil, 0, false
	}
	return l, seq + 1, true
}

// Label is the label of the stream that an event id belongs to, of any Hub's, also
// one that is no more; "" if it has none.
func Label(eventID string) string {
	if parts := strings.SplitN(eventID, "-", 4); len(parts) == 4 {
		return parts[3]
	}
	return ""
}

// trimLocked deletes what is over the limits, but nothing that a follower has yet to be
// told: first what finished streams hold besides their last message, the response; then the
// oldest finished streams; then the oldest messages of the others.
func (h *Hub) trimLocked() {
	for _, l := range h.order {
		if h.bytes <= h.limit {
			break
		}
		if n := len(l.items); l.over() && n > 0 {
			if size(l.items[n-1]) <= h.limit {
				n--
			}
			h.dropLocked(l, n)
		}
	}
	kept := h.order[:0]
	for i, l := range h.order {
		if left := len(kept) + len(h.order) - i; l.over() && (h.bytes > h.limit || left > maxLogs) {
			h.dropLocked(l, len(l.items))
			delete(h.logs, l.id)
			continue
		}
		kept = append(kept, l)
	}
	clear(h.order[len(kept):])
	h.order = kept
	for _, l := range h.order {
		n := 0
		for over := h.bytes - h.limit; over > 0 && l.first+n < l.floor && n < len(l.items); n++ {
			over -= size(l.items[n])
		}
		h.dropLocked(l, n)
	}
}

// dropLocked deletes the first n messages of l.
func (h *Hub) dropLocked(l *Log, n int) {
	for _, item := range l.items[:n] {
		h.bytes -= size(item)
	}
	clear(l.items[:n])
	l.items = l.items[n:]
	l.first += n
}

// tellLocked wakes those who wait to write, or for the streams to be filled.
func (h *Hub) tellLocked() {
	close(h.changed)
	h.changed = make(chan struct{})
}

func size(item []byte) int { return len(item) + overhead }

// Saved is a Hub written down, so that clients can resume after a restart. It holds
// what clients were told and is to be kept as secret as that.
type Saved struct {
	Name      string     `json:"name"`
	Delivered int        `json:"delivered"` // position in the Hub's own stream
	Logs      []SavedLog `json:"logs"`      // oldest first
	Next      int        `json:"next"`      // id of the next stream
}

// SavedLog is one stream.
type SavedLog struct {
	ID       int      `json:"id"`
	Label    string   `json:"label,omitempty"`
	First    int      `json:"first"` // position of the first message
	Messages [][]byte `json:"messages,omitempty"`
	Closed   bool     `json:"closed,omitempty"`
}

// Save writes the Hub down. What is appended later is not in it: see
// Filled.
func (h *Hub) Save() Saved {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Saved{Name: h.name, Next: h.next, Delivered: h.delivered}
	for _, l := range h.order {
		s.Logs = append(s.Logs, SavedLog{ID: l.id, Label: l.label, First: l.first, Messages: append([][]byte(nil), l.items...), Closed: l.closed})
	}
	return s
}

// Restore returns a Hub that continues where the saved one was: event ids stay good,
// and streams that were open can be appended to (Hub.Log).
func Restore(limit int, s Saved) (*Hub, error) {
	h := newHub(limit, s.Name)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, saved := range s.Logs {
		if saved.ID < 0 || saved.First < 0 || h.logs[saved.ID] != nil {
			return nil, errors.New("cannot restore the event streams: not a state that was saved")
		}
		l := h.addLocked(saved.ID, saved.Label)
		l.first, l.items, l.closed = saved.First, saved.Messages, saved.Closed
		l.floor = l.end()
		for _, item := range l.items {
			h.bytes += size(item)
		}
	}
	if h.own = h.logs[0]; h.own == nil {
		return nil, errors.New("cannot restore the event streams: the session's own is missing")
	}
	h.next, h.delivered = max(h.next, s.Next), s.Delivered
	h.trimLocked()
	return h, nil
}

// Fill says that the caller has messages to come for l, and the function it returns,
// that all are in it.
func (l *Log) Fill() (done func()) {
	l.hub.fill(1)
	return func() { l.hub.fill(-1) }
}

func (h *Hub) fill(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.filling += n; h.filling == 0 {
		h.tellLocked()
	}
}

// Filled waits until nobody fills any of the streams. Its error is ctx's.
func (h *Hub) Filled(ctx context.Context) error {
	for {
		h.mu.Lock()
		filling, changed := h.filling, h.changed
		h.mu.Unlock()
		if filling == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
