package launcher

import (
	"fmt"
	"testing"
	"time"
)

func TestPaceOfAUser(t *testing.T) {
	p, now := newPace(from()), time.Unix(0, 0)
	// started counts those that need not wait.
	started := func(user string) (n, all int) {
		for range 1000 {
			delay, err := p.next(user, now)
			if err == nil {
				all++
			}
			if err == nil && delay == 0 {
				n++
			}
		}
		return n, all
	}
	if n, all := started("alice"); n != 64 || all != 64+20 {
		t.Errorf("%d starts at once and %d within five seconds, want 64 and 84", n, all)
	}
	if n, _ := started("bob"); n != 64 {
		t.Errorf("another user has %d starts at once, want 64", n)
	}
	now = now.Add(15 * time.Second)
	if n, _ := started("alice"); n != 40 {
		t.Errorf("%d starts fifteen seconds later, want 40", n)
	}
	p = newPace(from(envPerUser + "=500"))
	if n, _ := started("alice"); n != startsAtOnce {
		t.Errorf("%d starts at once for one who may have 500 sessions, want %d", n, startsAtOnce)
	}
}

// Whatever names a broker that was taken over makes up, the bound of all starts holds.
func TestPaceOfAll(t *testing.T) {
	p, now := newPace(from()), time.Unix(0, 0)
	started, longest := 0, time.Duration(0)
	for i := range 3 * usersRemembered {
		delay, err := p.next(fmt.Sprint("user", i), now)
		if err != nil {
			continue
		}
		started++
		longest = max(longest, delay)
	}
	if want := startsAtOnce + startsPerSecond*int(longestStartDelay/time.Second); started != want || longest != longestStartDelay {
		t.Errorf("%d starts, the last after %v; want %d within %v", started, longest, want, longestStartDelay)
	}
	if n := len(p.users); n > usersRemembered {
		t.Errorf("%d users are remembered", n)
	}
}
