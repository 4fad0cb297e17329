package eventstore

import "errors"

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
