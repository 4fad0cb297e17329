package authserver

import (
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/fjmcp/fjmcp-broker/internal/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/web"
)

// Failed token requests are limited, good ones never: a request is answered
// first and counted if it failed. Codes and tokens have 256 random bits, so this
// is not what keeps them from being guessed; it keeps a client that has gone
// wrong from filling the log, and tells it to wait. A whole service may come from
// one address, hence the second, wider limit.
const (
	clientFailures  = 60 // of one client from one address, at once
	clientPerSecond = 1
	addressFailures = 600 // from one address, at once
	addressRate     = 20
	maxCounted      = 10_000 // addresses and clients remembered
)

// limiter counts failures by key. The zero value is not usable.
type limiter struct {
	now   func() time.Time
	every rate.Limit
	burst int

	mu   sync.Mutex
	keys map[string]*rate.Limiter
}

func newLimiter(now func() time.Time, perSecond rate.Limit, burst int) *limiter {
	return &limiter{now: now, every: perSecond, burst: burst, keys: map[string]*rate.Limiter{}}
}

// failed counts one failure of key and returns how long to wait if there were
// too many.
func (l *limiter) failed(key string) time.Duration {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket := l.keys[key]
	if bucket == nil {
		l.makeRoom(now)
		bucket = rate.NewLimiter(l.every, l.burst)
		l.keys[key] = bucket
	}
	if bucket.AllowN(now, 1) {
		return 0
	}
	return time.Duration(float64(time.Second) / float64(l.every))
}

// makeRoom forgets those without recent failures; if that is not enough, all.
func (l *limiter) makeRoom(now time.Time) {
	if len(l.keys) < maxCounted {
		return
	}
	for key, bucket := range l.keys {
		if bucket.TokensAt(now) >= float64(l.burst) {
			delete(l.keys, key)
		}
	}
	if len(l.keys) >= maxCounted {
		clear(l.keys)
	}
}

// limits are those of the token endpoint.
type limits struct{ client, address *limiter }

func newLimits(now func() time.Time) limits {
	return limits{newLimiter(now, clientPerSecond, clientFailures), newLimiter(now, addressRate, addressFailures)}
}

// refused answers with 429 in place of e when there were too many failures of
// this kind, and reports whether it did.
func (l limits) refused(w http.ResponseWriter, r *http.Request, e *oauth.Error) bool {
	if e.Code != oauth.InvalidClient && e.Code != oauth.InvalidGrant {
		return false
	}
	address := clientAddress(r)
	wait := max(l.client.failed(string(oauth.Hash(address+" "+claimedClient(r)))), l.address.failed(address))
	if wait == 0 {
		return false
	}
	seconds := int(math.Ceil(wait.Seconds()))
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	web.WriteJSON(w, http.StatusTooManyRequests, oauth.Errorf(oauth.TemporarilyUnavailable, "too many failed requests; this one failed as well: %s", e.Description))
	return true
}

// claimedClient is the client id a request states, true or not.
func claimedClient(r *http.Request) string {
	if id, _, ok := r.BasicAuth(); ok {
		return id
	}
	return r.PostForm.Get("client_id")
}

// clientAddress is where a request comes from: for one from this machine, which
// is the reverse proxy's, what that proxy added to X-Forwarded-For. IPv6 counts
// by /64, which is what one customer has.
func clientAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = "" // a unix socket
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.IsLoopback() {
		hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		forwarded, err := netip.ParseAddr(strings.TrimSpace(hops[len(hops)-1]))
		if err != nil {
			return host
		}
		addr = forwarded
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if prefix, err := addr.Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return addr.String()
}
