package mcp

import (
	"bytes"
	"io"
	"net/http"
)

// EventStream writes server-sent events (HTML Living Standard §9.2) to one
// HTTP response and flushes each.
type EventStream struct {
	// Prefix begins the ids of all events, but for those that have none.
	Prefix string

	w  http.ResponseWriter
	rc *http.ResponseController
}

// NewEventStream sends the headers of an event stream.
func NewEventStream(w http.ResponseWriter) *EventStream {
	h := w.Header()
	h.Set("Content-Type", TypeEventStream)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.WriteHeader(http.StatusOK)
	s := &EventStream{w: w, rc: http.NewResponseController(w)}
	_ = s.rc.Flush()
	return s
}

// Message sends one JSON-RPC message as an event under an id by which the client
// can resume, "" where it cannot. An empty message tells the id alone (2025-11-25,
// "priming"). The reader gets raw byte for byte, but for carriage returns, which
// the format cannot carry and valid JSON holds only between tokens: they become
// spaces.
func (s *EventStream) Message(id string, raw []byte) error {
	var head string
	if id != "" {
		head = "id: " + s.Prefix + id + "\n"
	}
	if len(raw) > 0 {
		head += "event: message\n"
	}
	if bytes.IndexByte(raw, '\r') >= 0 {
		raw = bytes.ReplaceAll(raw, []byte("\r"), []byte(" "))
	}
	for more := true; more; head = "" {
		var line []byte
		line, raw, more = bytes.Cut(raw, []byte("\n"))
		if err := s.put(head+"data: ", line); err != nil {
			return err
		}
	}
	return s.write("\n")
}

// put writes one line of an event; a long one passes without being copied.
func (s *EventStream) put(field string, value []byte) error {
	_, err := io.WriteString(s.w, field)
	if err == nil {
		_, err = s.w.Write(value)
	}
	if err == nil {
		_, err = io.WriteString(s.w, "\n")
	}
	return err
}

// Endpoint sends the event that tells a client of HTTP+SSE where to post its
// messages (2024-11-05, Transports). uri must hold no line break.
func (s *EventStream) Endpoint(id, uri string) error {
	return s.write("id: " + id + "\nevent: endpoint\ndata: " + uri + "\n\n")
}

// KeepAlive sends a comment, which clients ignore and proxies count as traffic.
func (s *EventStream) KeepAlive() error { return s.write(": keep-alive\n\n") }

// write ends an event and sends it off.
func (s *EventStream) write(text string) error {
	if _, err := io.WriteString(s.w, text); err != nil {
		return err
	}
	return s.rc.Flush()
}
