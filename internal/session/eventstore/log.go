package eventstore

import (
	"context"
	"strconv"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

// Log is one stream: messages in order, each with an id that names it in the Hub.
type Log struct {
	hub   *Hub
	id    int
	label string

	// under hub.mu
	first     int // sequence number of items[0]
	items     [][]byte
	closed    bool
	followers map[*Follower]bool
	floor     int           // every follower was told what stands before it; end() without followers
	changed   chan struct{} // closed and replaced at every change
}

// ID names the stream in its Hub, also in one that was restored.
func (l *Log) ID() int { return l.id }

// eventID names the event at a position.
func (l *Log) eventID(seq int) string {
	id := l.hub.name + "-" + strconv.Itoa(l.id) + "-" + strconv.Itoa(seq)
	if l.label != "" {
		id += "-" + l.label
	}
	return id
}

// end is the position after the last message.
func (l *Log) end() int { return l.first + len(l.items) }

// over reports whether nobody writes or follows l any more.
func (l *Log) over() bool { return l.closed && len(l.followers) == 0 }

// Append adds a message and does not wait. It reports whether the message was
// taken: one to a closed stream is not, nor one beyond the Hub's limit while a
// follower has yet to be told as much. An empty message carries an event id and
// nothing else.
func (l *Log) Append(raw []byte) bool {
	h := l.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if l.closed || l.owed() && h.owed+size(raw) > h.limit {
		return false
	}
	l.addLocked(raw)
	return true
}

// Write adds a message that must not be lost. While followers have yet to be told
// as much as the Hub's limit, it waits until they are or leave, or ctx ends. To a
// closed stream it does nothing.
func (l *Log) Write(ctx context.Context, raw []byte) error {
	for {
		room := l.write(raw)
		if room == nil {
			return nil
		}
		select {
		case <-room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// write adds raw and returns nil, or returns what to wait for.
func (l *Log) write(raw []byte) <-chan struct{} {
	h := l.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if l.closed {
		return nil
	}
	owed := h.owed + size(raw)
	// A follower that waits for nothing gets a message of any size, unless others
	// fill the memory.
	if len(l.followers) > 0 && owed > h.limit && (l.owed() || owed > ceiling && h.owed > 0) {
		return h.changed
	}
	l.addLocked(raw)
	return nil
}

// owed reports whether a follower has yet to be told something.
func (l *Log) owed() bool { return l.floor < l.end() }

func (l *Log) addLocked(raw []byte) {
	l.items = append(l.items, raw)
	l.hub.bytes += size(raw)
	if len(l.followers) > 0 {
		l.hub.owed += size(raw)
	} else {
		l.floor = l.end()
	}
	l.hub.trimLocked()
	l.wakeLocked()
}

// recountLocked finds the floor anew after a follower came, was told or left.
func (l *Log) recountLocked() {
	before := l.hub.owed
	for _, item := range l.items[max(l.floor-l.first, 0):] {
		l.hub.owed -= size(item)
	}
	l.floor = l.end()
	for f := range l.followers {
		l.floor = min(l.floor, f.told)
	}
	for _, item := range l.items[max(l.floor-l.first, 0):] {
		l.hub.owed += size(item)
	}
	if l.hub.owed < before {
		l.hub.tellLocked()
	}
	l.hub.trimLocked()
}

// Close ends the stream: followers end after its last message.
func (l *Log) Close() {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	l.closeLocked()
	l.hub.trimLocked()
}

func (l *Log) closeLocked() {
	if !l.closed {
		l.closed = true
		l.hub.tellLocked()
		l.wakeLocked()
	}
}

func (l *Log) wakeLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Follower goes along a Log. What it has yet to be told is kept for it. One
// goroutine uses it.
type Follower struct {
	log      *Log
	next     int           // position of the next Read
	told     int           // position after what Told confirmed
	replaced chan struct{} // nil but for a listener
}

// Event is one message of a Log.
type Event struct {
	ID  string
	Raw []byte
}

// Follow goes along l from position next on. The caller calls Close.
func (l *Log) Follow(next int) *Follower {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	return l.followLocked(next)
}

func (l *Log) followLocked(next int) *Follower {
	next = min(max(next, l.first), l.end())
	f := &Follower{log: l, next: next, told: next}
	l.followers[f] = true
	l.recountLocked()
	return f
}

// Replaced is closed when another has taken this listener's place; nil for the
// follower of a Log.
func (f *Follower) Replaced() <-chan struct{} { return f.replaced }

// Read returns the messages since the last Read, whether nothing can follow, and a
// channel that is closed at the next change. The caller calls Told when it has
// written them.
func (f *Follower) Read() (events []Event, done bool, changed <-chan struct{}) {
	l := f.log
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	for seq := max(f.next, l.first); seq < l.end(); seq++ {
		events = append(events, Event{l.eventID(seq), l.items[seq-l.first]})
	}
	f.next = l.end()
	return events, l.closed, l.changed
}

// Told says that what Read returned has been written; it need not be kept for this
// follower any longer.
func (f *Follower) Told() {
	l := f.log
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	if f.told == f.next {
		return
	}
	f.told = f.next
	if f.replaced != nil {
		l.hub.delivered = max(l.hub.delivered, f.told)
	}
	l.recountLocked()
}

// Close leaves the stream.
func (f *Follower) Close() {
	l := f.log
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	delete(l.followers, f)
	if l.hub.listener == f {
		l.hub.listener = nil
	}
	l.recountLocked()
}

// Serve writes what f is told to out, with a keep-alive each time keepAlive has
// passed, and closes f. It returns when the stream or ctx ends, when out fails, or
// when another has taken the listener's place; once end is closed, after what has
// come by then.
func (f *Follower) Serve(ctx context.Context, out *mcp.EventStream, keepAlive time.Duration, end <-chan struct{}) {
	defer f.Close()
	quiet := time.NewTicker(keepAlive)
	defer quiet.Stop()
	for last := false; ; {
		events, done, changed := f.Read()
		for _, e := range events {
			if out.Message(e.ID, e.Raw) != nil {
				return
			}
		}
		f.Told()
		if done || last {
			return
		}
		select {
		case <-changed:
		case <-end:
			last = true
		case <-f.Replaced():
			return
		case <-ctx.Done():
			return
		case <-quiet.C:
			if out.KeepAlive() != nil {
				return
			}
		}
	}
}
