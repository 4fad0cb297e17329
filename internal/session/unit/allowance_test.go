package unit

import (
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
)

// However many units a user has started, they get what one long silence allows, and what
// comes with time. Others have their own.
func TestAllowances(t *testing.T) {
	var a Allowances
	now := time.Now()
	take := func(user string, units int) (sum int) {
		for range units {
			n := a.take(user, now)
			if n < 0 || n > atStart {
				t.Fatalf("a unit got %d bytes", n)
			}
			sum += n
		}
		return sum
	}
	if got := take("alice", 1); got != atStart {
		t.Errorf("the first unit got %d bytes", got)
	}
	if got := take("alice", 1000); got != allowance-atStart {
		t.Errorf("the next thousand units got %d bytes", got)
	}
	if got := take("bob", 1); got != atStart {
		t.Errorf("another user's unit got %d bytes", got)
	}
	now = now.Add(10 * time.Second)
	if got := take("alice", 1000); got != 10*control.OutputPerSecond {
		t.Errorf("after ten seconds a thousand units got %d bytes", got)
	}
	now = now.Add(-time.Hour) // the clock was set back
	if got := take("alice", 1); got != 0 {
		t.Errorf("units got %d bytes in no time", got)
	}
	var none *Allowances
	if got := none.take("alice", now); got != 0 {
		t.Errorf("none gave %d bytes", got)
	}
}
