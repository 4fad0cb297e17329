package session

import (
	"github.com/fjmcp/fjmcp-broker/internal/broker"
	"github.com/fjmcp/fjmcp-broker/internal/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/stream"
)

// streamMemory bounds what a session keeps for clients that come back, bytes.
const streamMemory = 4 << 20

// NewStreams returns the event streams of a session to come.
func NewStreams() *stream.Hub { return stream.NewHub(streamMemory) }

func newSession(m *Manager, streams *stream.Hub, row broker.Session) *Session {
	return &Session{manager: m, row: row, streams: streams}
}

// Streams are the session's event streams. They outlive its units.
func (s *Session) Streams() *stream.Hub { return s.streams }

// other takes what a backend says beside all calls. What is to be answered needs
// a listener; what is to be known waits for one.
func (s *Session) other(raw []byte) bool {
	heard := s.streams.Heard()
	m, err := mcp.Parse(raw)
	if err != nil || m.Kind == mcp.Request && !heard {
		return false
	}
	return s.streams.Own().Append(raw) && heard
}
