package clientmeta

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	maxEntries = 256
	staleTime  = 24 * time.Hour   // an old value serves this long while its server fails
	retryTime  = 10 * time.Second // a failed fetch is not repeated sooner
)

// cache holds what was read from URLs. Several requests for one URL share one
// fetch, which continues when the request that began it is given up.
type cache[T any] struct {
	now   func() time.Time
	fetch func(ctx context.Context, url, etag string) (answer, error)
	parse func(url string, body []byte) (T, error)

	flight  singleflight.Group
	mu      sync.Mutex
	entries map[string]entry[T]
}

// entry is what is known of one URL. It is never changed, only replaced.
type entry[T any] struct {
	value   T
	has     bool // value is set
	etag    string
	read    time.Time // when value was last seen to hold
	fresh   time.Time // no fetch before this
	failure error     // of the last fetch
}

func newCache[T any](now func() time.Time, fetch func(context.Context, string, string) (answer, error), parse func(string, []byte) (T, error)) *cache[T] {
	return &cache[T]{now: now, fetch: fetch, parse: parse, entries: map[string]entry[T]{}}
}

// get returns the value of a URL, which was read after notBefore unless its
// server fails. The zero time means any.
func (c *cache[T]) get(ctx context.Context, url string, notBefore time.Time) (T, error) {
	c.mu.Lock()
	e := c.entries[url]
	c.mu.Unlock()
	if c.now().Before(e.fresh) && (e.failure != nil || e.read.After(notBefore) || notBefore.IsZero()) {
		return c.result(e)
	}
	done := c.flight.DoChan(url, func() (any, error) {
		return c.refresh(context.WithoutCancel(ctx), url, e), nil
	})
	select {
	case r := <-done:
		return c.result(r.Val.(entry[T]))
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

func (c *cache[T]) result(e entry[T]) (T, error) {
	if e.has {
		return e.value, nil
	}
	return e.value, e.failure
}

// refresh asks the server and stores what it says.
func (c *cache[T]) refresh(ctx context.Context, url string, old entry[T]) entry[T] {
	e, err := c.ask(ctx, url, old)
	if err != nil {
		e = c.failed(old, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.makeRoom()
	c.entries[url] = e
	return e
}

func (c *cache[T]) ask(ctx context.Context, url string, old entry[T]) (entry[T], error) {
	a, err := c.fetch(ctx, url, old.etag)
	if err != nil {
		return old, err
	}
	e := entry[T]{value: old.value, has: true, etag: a.etag, read: c.now(), fresh: c.now().Add(a.fresh)}
	if a.notModified {
		e.etag = old.etag
		return e, nil
	}
	if e.value, err = c.parse(url, a.body); err != nil {
		err = &Error{err.Error(), false, nil}
	}
	return e, err
}

// failed keeps an old value only while its server gives no usable answer. What
// the server has replaced or spoiled is gone.
func (c *cache[T]) failed(old entry[T], err error) entry[T] {
	e := entry[T]{fresh: c.now().Add(retryTime), failure: err}
	var failure *Error
	if old.has && errors.As(err, &failure) && failure.Unreachable && c.now().Sub(old.read) < staleTime {
		e.value, e.has, e.etag, e.read = old.value, true, old.etag, old.read
	}
	return e
}

// makeRoom forgets what is not fresh any more, else anything: a stranger can
// fill the cache, but only make others be fetched again by it.
func (c *cache[T]) makeRoom() {
	if len(c.entries) < maxEntries {
		return
	}
	maps.DeleteFunc(c.entries, func(_ string, e entry[T]) bool { return c.now().After(e.fresh) })
	for url := range c.entries {
		if len(c.entries) < maxEntries {
			return
		}
		delete(c.entries, url)
	}
}
