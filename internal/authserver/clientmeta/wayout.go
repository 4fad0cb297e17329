package clientmeta

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync/atomic"
	"time"
)

// wayOut is whether connections to where clients publish come about. Whoever is told of
// metadata documents and cannot have theirs read does not fall back to registration, so
// none is told of them while there is no way out.
type wayOut struct {
	closed atomic.Bool
	looked atomic.Int64 // when CheckWay ended last, nanoseconds since 1970
	lost   func()
}

// lookAgain is how long after a look a failed fetch asks for no other: strangers choose
// what is fetched, and could else have the broker knock at others' doors at will.
const lookAgain = time.Minute

// lookTime bounds one of CheckWay's attempts: all together end within 15 s.
const lookTime = 2500 * time.Millisecond

// Reachable reports whether what clients publish can be read, as far as is known: false
// after CheckWay has failed and until it, or any fetch, has made a connection.
func (f *Fetcher) Reachable() bool { return !f.way.closed.Load() }

// CheckWay looks whether the broker can connect to where the best-known clients publish
// their documents: to any of them, in random order. It asks for the headers of a document
// and sends nothing of its own.
func (f *Fetcher) CheckWay(ctx context.Context) error {
	defer func() { f.way.looked.Store(f.now().UnixNano()) }()
	urls, last := slices.Collect(maps.Keys(knownClients)), error(nil)
	rand.Shuffle(len(urls), func(i, j int) { urls[i], urls[j] = urls[j], urls[i] })
	for _, url := range urls {
		ctx, cancel := context.WithTimeout(ctx, lookTime)
		req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
		if err == nil {
			err = f.connect(req)
		}
		cancel()
		if err == nil {
			return nil
		}
		last = err
	}
	if ctx.Err() != nil {
		return ctx.Err() // which says nothing about the way
	}
	f.way.closed.Store(true)
	return fmt.Errorf("cannot connect to where clients publish their metadata documents, so clients are not told of them and register: %w", last)
}

// connect sends req, and returns an error if no connection came about.
func (f *Fetcher) connect(req *http.Request) error {
	resp, connected, err := f.do(req)
	if err == nil {
		return resp.Body.Close()
	}
	if connected {
		return nil
	}
	return err
}

// do sends a request and learns from it about the way out.
func (f *Fetcher) do(req *http.Request) (resp *http.Response, connected bool, err error) {
	var got atomic.Bool
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { got.Store(true) }}
	resp, err = f.http.Do(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if got.Load() {
		f.way.closed.Store(false)
	}
	return resp, got.Load(), err
}

// failed has the way out looked at after a fetch that made no connection. A refused
// address says nothing about it.
func (w *wayOut) failed(err error, now time.Time) {
	if w.lost != nil && !errors.Is(err, errRefused) && now.Sub(time.Unix(0, w.looked.Load())) >= lookAgain {
		w.lost()
	}
}
