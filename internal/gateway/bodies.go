package gateway

import (
	"errors"
	"io"
	"sync"
)

// errCrowded: the user's requests hold as much memory as they may.
var errCrowded = errors.New("the bodies of other requests fill the memory")

// bodies counts what the requests of each user hold in memory while they are
// served: a backend that does not read, or a client that sends much at once, would
// else fill it.
type bodies struct {
	limit int64 // bytes of one user

	mu   sync.Mutex
	held map[string]int64 // by user
}

func newBodies(limit int64) *bodies { return &bodies{limit: limit, held: map[string]int64{}} }

// body is a request's body that is counted as it is read. Close gives back what it
// took, when all is done with what was read.
type body struct {
	of   *bodies
	user string
	from io.Reader
	n    int64
}

func (b *bodies) of(user string, from io.Reader) *body { return &body{of: b, user: user, from: from} }

// Read fails with errCrowded when others hold too much.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	if !b.of.take(b.user, int64(n)) {
		return 0, errCrowded
	}
	b.n += int64(n)
	return n, err
}

// Close gives back what the body took.
func (b *body) Close() { b.of.take(b.user, -b.n) }

func (b *bodies) take(user string, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	held := b.held[user] + n
	switch {
	case n > 0 && held > b.limit:
		return false
	case held == 0:
		delete(b.held, user)
	default:
		b.held[user] = held
	}
	return true
}
