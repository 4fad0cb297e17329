package startup

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
)

// Queue is where the requests to a dormant session wait, in order of arrival, while
// the one at its head starts a unit.
type Queue struct {
	head *semaphore.Weighted // serves in order of arrival

	mu    sync.Mutex
	size  int    // how many wait or are at the head
	last  uint64 // number of the last to join
	spent uint64 // the last to have joined before a start failed
	err   error  // what it failed with
}

// NewQueue returns an empty Queue.
func NewQueue() *Queue { return &Queue{head: semaphore.NewWeighted(1)} }

// Waiting counts those that wait for the head or are there. A request that does not join
// while there are any overtakes them.
func (q *Queue) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.size
}

// Join waits for the head, and returns what is to be called, once or more, to leave it.
// Errors: ctx's, or that of a start that failed meanwhile: who waited for it shares its
// end, lest each has to wait for another.
func (q *Queue) Join(ctx context.Context) (leave func(), err error) {
	q.mu.Lock()
	q.size++
	q.last++
	number := q.last
	q.mu.Unlock()
	if q.head.Acquire(ctx, 1) != nil {
		q.shrink()
		return nil, context.Cause(ctx)
	}
	leave = sync.OnceFunc(func() {
		q.shrink()
		q.head.Release(1)
	})
	if err := q.outcome(number); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// outcome is how a start that failed since a request joined ended, if one did.
func (q *Queue) outcome(number uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if number > q.spent {
		return nil
	}
	return q.err
}

func (q *Queue) shrink() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.size--; q.size == 0 {
		q.err = nil
	}
}

// Failed tells those that wait how the start at the head ended, unless that is the
// request's own matter.
func (q *Queue) Failed(ctx context.Context, err error) {
	if ctx.Err() != nil || errors.Is(err, relay.ErrClosed) {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.spent, q.err = q.last, err
}

// Lead waits for the head for what is not a request.
func (q *Queue) Lead() (leave func()) {
	_ = q.head.Acquire(context.Background(), 1) // fails only with its context
	return func() { q.head.Release(1) }
}
