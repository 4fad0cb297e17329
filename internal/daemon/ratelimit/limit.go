// Package ratelimit tells where a request comes from, and when a source, or a user, has
// asked too often. What goes over a limit is audited once a source or user and window, so
// that an attack cannot fill the journal.
package ratelimit

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
)

// Rate allows Burst at once and PerSecond on average.
type Rate struct {
	Burst     int
	PerSecond float64
}

// Rule is what may be done of one kind. A whole company may come from one
// address, hence the wider limit for that.
type Rule struct {
	Name    string // the outcome in the audit trail
	Client  Rate   // of one client from one address; not looked at without one
	Address Rate   // of one address; of its network it is networkTimes as much
	All     Rate   // of all together; not looked at where it is zero
}

// networkTimes is how many of its addresses may use up what an IPv6 /48 may do. One
// customer can have a whole /48, 65,536 addresses as they are counted here; it can
// also be many customers of one provider.
const networkTimes = 8

func (r Rate) times(n int) Rate { return Rate{r.Burst * n, r.PerSecond * float64(n)} }

// Window is how long a source that goes over a limit is not audited again.
const Window = 10 * time.Minute

// maxCounted bounds the sources remembered of one kind. An entry takes about 200
// bytes.
const maxCounted = 10_000

// Config is what a Limiter needs. All fields are required.
type Config struct {
	Rule      Rule
	Addresses *Addresses
	Audit     *audit.Logger
	Now       func() time.Time
}

// Limiter counts by source. It is safe for concurrent use; a nil one limits
// nothing.
type Limiter struct {
	cfg     Config
	mu      sync.Mutex
	client  buckets
	address buckets
	network buckets
	all     buckets // with one key, everybody
	told    told    // of sources
}

// New returns a Limiter.
func New(cfg Config) *Limiter {
	rule := cfg.Rule
	return &Limiter{cfg: cfg, client: newBuckets(rule.Client), address: newBuckets(rule.Address), network: newBuckets(rule.Address.times(networkTimes)), all: newBuckets(rule.All), told: newTold()}
}

// Take counts r, made in the name of client, and returns 0 or, if that is one
// too many, how long to wait. What is refused is not counted. client is what
// tells clients of one address apart, "" for none; it is not written down.
func (l *Limiter) Take(r *http.Request, client string) time.Duration {
	if l == nil {
		return 0
	}
	source, network := l.cfg.Addresses.Source(r)
	now := l.cfg.Now()
	l.mu.Lock()
	who, over, wait := l.take(source, network, client, now)
	tell := wait > 0 && l.told.first(who, now)
	l.mu.Unlock()
	if tell {
		l.cfg.Audit.Event(r.Context(), audit.Event{
			Kind: audit.RateLimited, Outcome: l.cfg.Rule.Name, Detail: "from " + who + ": " + over, Failed: true,
		})
	}
	return wait
}

// everybody is the source of what is limited whoever sends it.
const everybody = "all addresses"

// take also says who is over which limit. The narrowest limit comes first: one client
// that has gone wrong must not use up what its address may, nor an address what its
// network may. Of a network that has nothing left no address is remembered.
func (l *Limiter) take(source, network, client string, now time.Time) (who, over string, wait time.Duration) {
	key := sha256.Sum256([]byte(source + " " + client)) // of one length, whatever the client says
	if client != "" {
		if wait := l.client.take(string(key[:]), now); wait > 0 {
			return source, "one client " + l.client.rate.String(), wait
		}
	}
	if network != "" && !l.network.left(network, now) {
		return network, l.network.rate.String(), l.network.wait(network, now)
	}
	if l.all.rate != (Rate{}) && !l.all.left(everybody, now) {
		return everybody, l.all.rate.String(), l.all.wait(everybody, now)
	}
	if wait := l.address.take(source, now); wait > 0 {
		return source, l.address.rate.String(), wait
	}
	if network != "" {
		l.network.take(network, now)
	}
	if l.all.rate != (Rate{}) {
		l.all.take(everybody, now)
	}
	return "", "", 0
}

// String says what is over the rate.
func (r Rate) String() string {
	return fmt.Sprintf("more than %d at once, %g a second", r.Burst, r.PerSecond)
}

// told is who was audited lately, and when.
type told struct {
	at   map[string]time.Time
	full time.Time // when it was last found full
}

func newTold() told { return told{at: map[string]time.Time{}} }

// first reports whether who is to be audited now.
func (t *told) first(who string, now time.Time) bool {
	if at, ok := t.at[who]; ok && now.Sub(at) < Window {
		return false
	}
	if len(t.at) >= maxCounted && !t.forget(now) {
		return false // rather silent than a full journal
	}
	t.at[who] = now
	return true
}

// forget makes room, and looks for some once a minute.
func (t *told) forget(now time.Time) bool {
	if now.Sub(t.full) < time.Minute {
		return false
	}
	maps.DeleteFunc(t.at, func(_ string, at time.Time) bool { return now.Sub(at) >= Window })
	if len(t.at) >= maxCounted {
		t.full = now
	}
	return len(t.at) < maxCounted
}

// buckets are token buckets by key.
type buckets struct {
	rate Rate
	keys map[string]*rate.Limiter
}

func newBuckets(r Rate) buckets { return buckets{rate: r, keys: map[string]*rate.Limiter{}} }

func (b *buckets) take(key string, now time.Time) time.Duration {
	bucket := b.keys[key]
	if bucket == nil {
		b.makeRoom(now)
		bucket = rate.NewLimiter(rate.Limit(b.rate.PerSecond), b.rate.Burst)
		b.keys[key] = bucket
	}
	if bucket.AllowN(now, 1) {
		return 0
	}
	return b.wait(key, now)
}

// left reports whether take would return 0.
func (b *buckets) left(key string, now time.Time) bool {
	bucket := b.keys[key]
	return bucket == nil || bucket.TokensAt(now) >= 1
}

// wait is the time in which take of a key that has nothing left would return 0 again.
func (b *buckets) wait(key string, now time.Time) time.Duration {
	lacking := 1 - b.keys[key].TokensAt(now)
	return time.Duration(math.Ceil(lacking / b.rate.PerSecond * float64(time.Second)))
}

// makeRoom forgets those that have not asked lately; if that is not enough, all.
func (b *buckets) makeRoom(now time.Time) {
	if len(b.keys) < maxCounted {
		return
	}
	maps.DeleteFunc(b.keys, func(_ string, l *rate.Limiter) bool { return l.TokensAt(now) >= float64(b.rate.Burst) })
	if len(b.keys) > maxCounted/2 { // else this walk would come again too soon
		clear(b.keys)
	}
}

// SetRetryAfter says in whole seconds how long to wait (RFC 9110 §10.2.3).
func SetRetryAfter(w http.ResponseWriter, wait time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(Seconds(wait)))
}

// Seconds is wait in whole seconds, at least 1 and not less than it is.
func Seconds(wait time.Duration) int { return max(1, int(math.Ceil(wait.Seconds()))) }

// The rules. They are wide enough for an office or a university behind one
// address, and for a client's servers that serve many users: what keeps codes and
// tokens from being guessed is their 256 random bits; user codes are short, and have
// only DeviceCode. They keep one source from filling database and journal, and tell a
// client that has gone wrong to wait.
var (
	// Register counts registrations. They store nothing, and come from no client yet.
	Register = Rule{Name: "register", Address: Rate{120, 0.2}}
	// Authorize counts consent pages.
	Authorize = Rule{Name: "authorize", Client: Rate{120, 1}, Address: Rate{600, 10}}
	// Login counts answered consent pages and logins to the account page: each
	// stores a row.
	Login = Rule{Name: "login", Client: Rate{60, 0.2}, Address: Rate{300, 1}}
	// Token counts token, revocation and introspection requests that failed.
	Token = Rule{Name: "token", Client: Rate{60, 1}, Address: Rate{600, 20}}
	// Device counts what clients without a browser ask for. Each stores a row for the ten
	// minutes that its code is good, so at most 800 user codes are to be guessed.
	Device = Rule{Name: "device", Client: Rate{10, 1. / 30}, Address: Rate{60, 0.2}, All: Rate{500, 0.5}}
	// DeviceCode counts entries of user codes, right or wrong (RFC 8628 §5.1): in the ten
	// minutes of a code, 20 from one address and 900 from all, of 20^8.
	DeviceCode = Rule{Name: "device_code", Address: Rate{10, 1. / 60}, All: Rate{300, 1}}
	// Bearer counts requests to the MCP endpoint whose access token is no good.
	Bearer = Rule{Name: "bearer", Client: Rate{60, 1}, Address: Rate{600, 20}}
)

// Rules are all of them.
var Rules = []Rule{Register, Authorize, Login, Token, Bearer, Device, DeviceCode}
