package session

import (
	"strconv"

	"github.com/fjmcp/fjmcp-broker/internal/stream"
)

// Carry says that the caller takes what c yields to l, one of the session's
// streams, and the function it returns, that it takes no more. A call that is
// suspended meanwhile is carried on by the next process.
func (s *Session) Carry(c *Call, l *stream.Log) (done func()) {
	c.SetTag(strconv.Itoa(l.ID()))
	return l.Fill()
}

// Carried is the stream that the process before carried a restored call to; nil
// when its client cannot come back for it.
func (s *Session) Carried(c *Call) *stream.Log {
	id, err := strconv.Atoi(c.Tag())
	if err != nil {
		return nil
	}
	return s.streams.Log(id)
}
