package eventstore

import (
	"context"
	"time"
)

// Writer is where the messages of a stream go, an event stream over HTTP.
type Writer interface {
	Message(id string, raw []byte) error
	KeepAlive() error
}

// Serve writes what f is told to out, with a keep-alive each time keepAlive has
// passed, and closes f. It returns when the stream or ctx ends, when out fails, or
// when another has taken the listener's place; once end is closed, after what has
// come by then.
func (f *Follower) Serve(ctx context.Context, out Writer, keepAlive time.Duration, end <-chan struct{}) {
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
