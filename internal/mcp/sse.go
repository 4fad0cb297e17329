package mcp

import (
	"bytes"
	"net/http"
)

// EventStream writes server-sent events (HTML Living Standard §9.2) to one
// HTTP response and flushes each.
type EventStream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// NewEventStream sends the headers of an event stream.
func NewEventStream(w http.ResponseWriter) *EventStream {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.WriteHeader(http.StatusOK)
	s := &EventStream{w: w, rc: http.NewResponseController(w)}
	_ = s.rc.Flush()
	return s
}

// Message sends one JSON-RPC message as an event under an id by which the client
// can resume. An empty message tells the id alone (2025-11-25, "priming").
func (s *EventStream) Message(id string, raw []byte) error {
	var b bytes.Buffer
	b.Grow(len(raw) + len(id) + 32)
	b.WriteString("id: ")
	b.WriteString(id)
	if len(raw) > 0 {
		b.WriteString("\nevent: message")
	}
	b.WriteString("\ndata: ")
	b.Write(bytes.TrimSuffix(Line(raw), []byte("\n")))
	b.WriteString("\n\n")
	return s.write(b.Bytes())
}

// KeepAlive sends a comment, which clients ignore and proxies count as traffic.
func (s *EventStream) KeepAlive() error { return s.write([]byte(": keep-alive\n\n")) }

func (s *EventStream) write(b []byte) error {
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	return s.rc.Flush()
}
