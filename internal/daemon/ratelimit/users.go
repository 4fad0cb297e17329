package ratelimit

import (
	"fmt"
	"sync"
	"time"
)

// Users counts what each user does, from whatever client, session and address. It is safe
// for concurrent use; a nil one limits nothing.
type Users struct {
	perMinute int
	now       func() time.Time

	mu      sync.Mutex
	buckets buckets
	told    told
}

// NewUsers allows each user perMinute a minute, and as many at once after a minute of
// silence. It returns nil for 0.
func NewUsers(perMinute int, now func() time.Time) *Users {
	if perMinute == 0 {
		return nil
	}
	return &Users{perMinute: perMinute, now: now, buckets: newBuckets(Rate{perMinute, float64(perMinute) / 60}), told: newTold()}
}

// Take counts one of user's and returns 0 or, if that is one too many, how long to wait;
// then tell reports whether that is to be audited, see Window. What is refused is not
// counted.
func (u *Users) Take(user string) (wait time.Duration, tell bool) {
	if u == nil {
		return 0, false
	}
	now := u.now()
	u.mu.Lock()
	defer u.mu.Unlock()
	wait = u.buckets.take(user, now)
	return wait, wait > 0 && u.told.first(user, now)
}

// String names the limit, as in "1200 calls a minute".
func (u *Users) String() string {
	if u.perMinute == 1 {
		return "1 call a minute"
	}
	return fmt.Sprintf("%d calls a minute", u.perMinute)
}
