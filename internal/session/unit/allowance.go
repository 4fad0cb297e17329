package unit

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
)

// Allowances are what each user's units may write to their log as soon as they run, in
// bytes. A unit takes of it when it is made, so that many short-lived units write no more
// than a few. The zero value has the whole for each user. It is safe for concurrent use.
type Allowances struct {
	mu    sync.Mutex
	users map[string]*rate.Limiter
}

const (
	atStart   = 8 << 10     // for one unit; forgejo-mcp's start takes some 3 KiB
	allowance = 8 * atStart // of a user, after a long silence
)

// take is for one unit of the user; 0 from none.
func (a *Allowances) take(userID string, now time.Time) int {
	if a == nil {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	left := a.users[userID]
	if left == nil {
		if a.users == nil {
			a.users = map[string]*rate.Limiter{}
		}
		left = rate.NewLimiter(control.OutputPerSecond, allowance)
		a.users[userID] = left
	}
	n := min(int(left.TokensAt(now)), atStart)
	left.AllowN(now, n)
	return n
}
