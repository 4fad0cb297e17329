package call

import (
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/eventstore"
)

// Resume continues with the calls that the process before began in a session: what
// comes of them goes to the streams it went to then, where clients come back for
// it. A call without a stream is left alone, since its client cannot.
func (xs *Exchanges) Resume(s *session.Session, calls []*session.Call) {
	carried := map[*eventstore.Log][]*Exchange{}
	for _, c := range calls {
		l := s.Carried(c)
		if l == nil {
			c.Leave()
			continue
		}
		carried[l] = append(carried[l], xs.resume(s, c))
	}
	for l, all := range carried {
		go func() {
			if CarryAll(l, all) && l != s.Streams().Own() {
				l.Close()
			}
		}()
	}
}

// CarryAll carries several exchanges to one stream, and reports whether all are
// over.
func CarryAll(l *eventstore.Log, all []*Exchange) (over bool) {
	var carried sync.WaitGroup
	ends := make([]bool, len(all))
	for i, x := range all {
		carried.Go(func() { ends[i] = x.Carry(l) })
	}
	carried.Wait()
	for _, end := range ends {
		if !end {
			return false
		}
	}
	return true
}

func (xs *Exchanges) resume(s *session.Session, c *session.Call) *Exchange {
	x := xs.exchange(s, s.Access(), c.ClientID, c.Method, c.Tool)
	x.call = c
	x.setTime(c.Began)
	x.deadline = time.Now().Add(xs.Timeout)
	return x
}
