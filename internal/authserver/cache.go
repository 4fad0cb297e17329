package authserver

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

const (
	// AccessMaxAge is how long a revocation by another process may go unseen.
	AccessMaxAge = 500 * time.Millisecond
	// maxEntries bounds the memory of a cache, to some 4 MiB.
	maxEntries = 10_000
)

// key is the SHA-256 of an access token.
type key [sha256.Size]byte

// AccessCache keeps what store.Store.Access returned for as long as the store's
// generation stands. Refusals are not kept. It is safe for concurrent use.
type AccessCache struct {
	store *store.Store
	now   func() time.Time

	mu         sync.RWMutex
	generation int64 // of entries
	entries    map[key]model.Access
}

// NewAccessCache returns an empty AccessCache. Expiry is by now.
func NewAccessCache(s *store.Store, now func() time.Time) *AccessCache {
	return &AccessCache{store: s, now: now, entries: map[key]model.Access{}}
}

// Access is store.Store.Access, from memory where possible.
func (c *AccessCache) Access(ctx context.Context, tokenHash []byte) (model.Access, error) {
	k := key(tokenHash)
	// The generation is read before the token: what changes in between leaves an
	// entry that the next look at the generation throws away.
	generation, err := c.store.Generation(ctx, AccessMaxAge)
	if err != nil {
		return model.Access{}, err
	}
	if a, ok := c.get(k, generation); ok {
		if c.now().Before(a.ExpiresAt) {
			return a, nil
		}
		return model.Access{}, model.ErrExpired
	}
	a, err := c.store.Access(ctx, tokenHash)
	if err == nil {
		c.put(k, generation, a)
	}
	return a, err
}

func (c *AccessCache) get(k key, generation int64) (model.Access, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.generation != generation {
		return model.Access{}, false
	}
	a, ok := c.entries[k]
	return a, ok
}

func (c *AccessCache) put(k key, generation int64, a model.Access) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case generation < c.generation:
		return // it may be of before the change
	case generation > c.generation || len(c.entries) >= maxEntries:
		clear(c.entries)
		c.generation = generation
	}
	c.entries[k] = a
}
