package ratelimit

import (
	"strconv"
	"testing"
	"time"
)

// A user may do as much at once as in a minute, and is then told, to the nanosecond, when
// the next passes.
func TestUsersWaitAsLongAsTheyAreTold(t *testing.T) {
	for _, perMinute := range []int{1, 7, 60, 1200, 999_999} {
		c := &clock{time.Unix(1e9, 0)}
		u := NewUsers(perMinute, c.now)
		for i := range perMinute {
			if wait, _ := u.Take("alice"); wait != 0 {
				t.Fatalf("%d a minute: call %d has to wait %s", perMinute, i+1, wait)
			}
		}
		for range 5 {
			wait, _ := u.Take("alice")
			if most := time.Minute/time.Duration(perMinute) + time.Microsecond; wait <= 0 || wait > most {
				t.Fatalf("%d a minute: told to wait %s, at most %s", perMinute, wait, most)
			}
			c.at = c.at.Add(wait / 2)
			if half, _ := u.Take("alice"); wait > 10 && half <= 0 {
				t.Errorf("%d a minute: passed after half of %s", perMinute, wait)
			}
			c.at = c.at.Add(wait - wait/2)
			if more, _ := u.Take("alice"); more != 0 {
				t.Errorf("%d a minute: after %s another %s", perMinute, wait, more)
			}
		}
		if wait, _ := u.Take("bob"); wait != 0 {
			t.Errorf("%d a minute: bob has to wait %s for alice", perMinute, wait)
		}
	}
}

func TestAUserIsToldOfOnceAWindow(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	u := NewUsers(1, c.now)
	told := 0
	for range 3 {
		for range 500 {
			if _, tell := u.Take("alice"); tell {
				told++
			}
		}
		c.at = c.at.Add(Window)
	}
	if told != 3 {
		t.Errorf("told %d times in three windows", told)
	}
}

// However many users there are, memory and journal stay bounded.
func TestManyUsers(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	u := NewUsers(1, c.now)
	told := 0
	for i := range 3 * maxCounted {
		for range 2 {
			if _, tell := u.Take(strconv.Itoa(i)); tell {
				told++
			}
		}
	}
	if len(u.buckets.keys) > maxCounted || len(u.told.at) > maxCounted || told > maxCounted {
		t.Errorf("%d users, %d of them told of, %d times", len(u.buckets.keys), len(u.told.at), told)
	}
}

func TestWithoutALimitUsersAreNotCounted(t *testing.T) {
	u := NewUsers(0, time.Now)
	if wait, tell := u.Take("alice"); wait != 0 || tell {
		t.Errorf("limited: %s, %v", wait, tell)
	}
}
