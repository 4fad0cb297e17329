package sqlite

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

const (
	// busyBound is how long a locked database is tried in all. SQLite's own busy
	// timeout does not cover every case, such as the recovery of a log that a
	// killed process left.
	busyBound = 10 * time.Second
	busyPause = 20 * time.Millisecond
)

// SQLite's primary result codes (https://sqlite.org/rescode.html) for a lock
// that another connection holds; extended codes have them in the low byte.
const (
	codeBusy   = 5
	codeLocked = 6
)

// RetryBusy runs fn until it ends with anything but a lock of someone else's, for
// ten seconds.
func RetryBusy(ctx context.Context, fn func() error) error {
	deadline := time.Now().Add(busyBound)
	for {
		err := fn()
		if !isBusy(err) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(busyPause/2 + rand.N(busyPause)):
		}
	}
}

func isBusy(err error) bool {
	var coded interface{ Code() int }
	if !errors.As(err, &coded) {
		return false
	}
	code := coded.Code() & 0xff
	return code == codeBusy || code == codeLocked
}
