package session

import (
	"strconv"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session/eventstore"
)

// streamMemory bounds what a session keeps for clients that come back, bytes.
const streamMemory = 4 << 20

// NewStreams returns the event streams of a session to come.
func NewStreams() *eventstore.Hub { return eventstore.NewHub(streamMemory) }

func newSession(m *Manager, streams *eventstore.Hub, row model.Session) *Session {
	return &Session{
		manager: m, label: label(row.ID), row: row, queue: newQueue(), done: make(chan struct{}), streams: streams, notices: newNotices(),
	}
}

// Streams are the session's event streams. They outlive its units.
func (s *Session) Streams() *eventstore.Hub { return s.streams }

// hear takes what a backend says besides all calls, and reports whether somebody
// hears it. What is to be answered needs a listener; what is to be known waits for
// one. In a shared session nobody can tell whom a question or a log message is
// for.
func (s *Session) hear(raw []byte) bool {
	m, err := mcp.Parse(raw)
	if err != nil {
		return false
	}
	if s.row.Kind == model.SessionShared {
		s.notices.Take(m)
		return false
	}
	heard := s.streams.Heard()
	if m.Kind == mcp.Request && !heard {
		return false
	}
	return s.streams.Own().Append(raw) && heard
}

// Carry says that the caller takes what c yields to l, one of the session's
// streams, and the function it returns, that it takes no more. A call that is
// suspended meanwhile is carried on by the next process.
func (s *Session) Carry(c *Call, l *eventstore.Log) (done func()) {
	c.SetTag(strconv.Itoa(l.ID()))
	return l.Fill()
}

// Carried is the stream that the process before carried a restored call to; nil
// when its client cannot come back for it.
func (s *Session) Carried(c *Call) *eventstore.Log {
	id, err := strconv.Atoi(c.Tag())
	if err != nil {
		return nil
	}
	return s.streams.Log(id)
}
