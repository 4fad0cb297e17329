package stream

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// maxLogs bounds how many finished streams a Hub remembers.
const maxLogs = 64

// Hub holds the streams of one session.
type Hub struct {
	limit int // bytes kept in all logs together

	mu    sync.Mutex
	next  int
	logs  map[int]*Log
	order []int // ids, oldest first
	bytes int

	own       *Log          // the stream at GET
	delivered int           // position in own up to which a listener was told
	listener  chan struct{} // closed when another listener takes its place; nil without one
}

// NewHub returns a Hub that keeps at most limit bytes of messages.
func NewHub(limit int) *Hub {
	h := &Hub{limit: limit, logs: map[int]*Log{}}
	h.own = h.Open()
	return h
}

// Own is the stream for messages that belong to no request.
func (h *Hub) Own() *Log { return h.own }

// Listener is the one who is told what the Hub's own stream carries.
type Listener struct {
	hub      *Hub
	Next     int             // position after what any listener was told
	Replaced <-chan struct{} // closed when another takes its place
	mine     chan struct{}
}

// Listen makes the caller the one listener of the Hub's own stream: a message
// goes to one stream only. The caller calls Told as it goes on, and Leave.
func (h *Hub) Listen() *Listener {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listener != nil {
		close(h.listener)
	}
	h.listener = make(chan struct{})
	return &Listener{hub: h, Next: h.delivered, Replaced: h.listener, mine: h.listener}
}

// Told records that the messages before position next were written.
func (l *Listener) Told(next int) {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	l.hub.delivered = max(l.hub.delivered, next)
}

// Leave makes room for another listener.
func (l *Listener) Leave() {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	if l.hub.listener == l.mine {
		l.hub.listener = nil
	}
}

// Heard reports whether somebody listens to the Hub's own stream.
func (h *Hub) Heard() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.listener != nil
}

// Close ends all streams.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.logs {
		l.close()
	}
}

// Open starts a new stream.
func (h *Hub) Open() *Log {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := &Log{hub: h, id: h.next, changed: make(chan struct{})}
	h.next++
	h.logs[l.id] = l
	h.order = append(h.order, l.id)
	h.trim()
	return l
}

// Resume finds the stream that an event id belongs to and the position after
// that event. ok is false when the id is none of this Hub's or its stream has
// been forgotten.
func (h *Hub) Resume(eventID string) (l *Log, next int, ok bool) {
	stream, event, found := strings.Cut(eventID, "-")
	id, err := strconv.Atoi(stream)
	seq, err2 := strconv.Atoi(event)
	if !found || err != nil || err2 != nil {
		return nil, 0, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	l = h.logs[id]
	if l == nil || seq < 0 || seq >= l.first+len(l.items) {
		return nil, 0, false
	}
	return l, seq + 1, true
}

// trim forgets the oldest finished streams over the limits, then the oldest
// messages of the others. Called with mu held.
func (h *Hub) trim() {
	for i := 0; i < len(h.order) && (h.bytes > h.limit || len(h.order) > maxLogs); {
		l := h.logs[h.order[i]]
		if !l.closed {
			i++
			continue
		}
		h.drop(l, len(l.items))
		delete(h.logs, l.id)
		h.order = append(h.order[:i], h.order[i+1:]...)
	}
	for _, id := range h.order {
		for l := h.logs[id]; h.bytes > h.limit && len(l.items) > 0; {
			h.drop(l, 1)
		}
	}
}

// drop forgets the first n messages of l. Called with mu held.
func (h *Hub) drop(l *Log, n int) {
	for _, item := range l.items[:n] {
		h.bytes -= len(item)
	}
	l.items = l.items[n:]
	l.first += n
}

// Log is one stream: messages in order, each with an id that names it in the Hub.
type Log struct {
	hub *Hub
	id  int

	// under hub.mu
	first   int // sequence number of items[0]
	items   [][]byte
	closed  bool
	changed chan struct{} // closed and replaced at every change
}

// Append adds a message. An empty one carries an event id and nothing else. On
// a closed Log it does nothing.
func (l *Log) Append(raw []byte) {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	if l.closed {
		return
	}
	l.items = append(l.items, raw)
	l.hub.bytes += len(raw)
	l.hub.trim()
	l.wake()
}

// Close ends the stream: followers end after its last message.
func (l *Log) Close() {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	l.close()
}

// close is Close with hub.mu held.
func (l *Log) close() {
	if !l.closed {
		l.closed = true
		l.wake()
	}
}

func (l *Log) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Event is one message of a Log.
type Event struct {
	ID  string
	Raw []byte
}

// From returns the messages from position next on, the position after them,
// whether nothing can follow, and a channel that is closed at the next change.
// Messages that were forgotten for want of memory are left out.
func (l *Log) From(next int) (events []Event, after int, done bool, changed <-chan struct{}) {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	next = max(next, l.first)
	for seq := next; seq < l.first+len(l.items); seq++ {
		events = append(events, Event{fmt.Sprintf("%d-%d", l.id, seq), l.items[seq-l.first]})
	}
	return events, l.first + len(l.items), l.closed, l.changed
}
