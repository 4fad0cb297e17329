package launcher

import (
	"errors"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// What a broker that was taken over may have started: a start keeps PID 1 busy, which all
// of this machine needs. One user's share of it follows from how many sessions he may
// have.
const (
	startsPerSecond, startsAtOnce = 16, 512
	longestStartDelay             = 5 * time.Second // the broker waits for a session twice as long at least
	usersRemembered               = 4096

	envPerUser     = "FJMCP_BROKER_SESSIONS_PER_USER"
	defaultPerUser = 8
)

// pace bounds how many units are started, for each user and in all.
type pace struct {
	perUser int // sessions

	mu    sync.Mutex
	all   *rate.Limiter
	users map[string]*rate.Limiter
}

// newPace reads FJMCP_BROKER_SESSIONS_PER_USER, which the broker has checked.
func newPace(getenv func(string) string) *pace {
	perUser, err := strconv.Atoi(getenv(envPerUser))
	if err != nil || perUser < 1 {
		perUser = defaultPerUser
	}
	return &pace{perUser: perUser, all: rate.NewLimiter(startsPerSecond, startsAtOnce), users: map[string]*rate.Limiter{}}
}

// next is how long a start for user must wait at now; the error says that it would be
// too long. A user has eight times his sessions started at once, and then each session
// every two seconds.
func (p *pace) next(user string, now time.Time) (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.users) >= usersRemembered {
		clear(p.users) // the bound of all starts holds on
	}
	u := p.users[user]
	if u == nil {
		u = rate.NewLimiter(rate.Limit(p.perUser)/2, 8*p.perUser)
		p.users[user] = u
	}
	own := u.ReserveN(now, 1)
	delay := own.DelayFrom(now)
	if delay > longestStartDelay {
		own.CancelAt(now)
		return 0, errors.New("sessions of this user are started too often")
	}
	r := p.all.ReserveN(now, 1)
	delay = max(delay, r.DelayFrom(now))
	if delay > longestStartDelay {
		own.CancelAt(now)
		r.CancelAt(now)
		return 0, errors.New("sessions are started too often")
	}
	return delay, nil
}
