package authserver

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/endpoint"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

// ErrNoToken says that a request carries no bearer token at all.
var ErrNoToken = errors.New("no bearer token")

// OtherResource is a good token at an endpoint that it is not for: the resource that it is
// bound to (RFC 8707).
type OtherResource string

func (o OtherResource) Error() string { return "a token for " + string(o) }

// Authenticate returns what the bearer token of a request to an endpoint stands for. Only
// the Authorization header is looked at (RFC 6750 §2.1). A token that is bound to a resource
// is good there and at what is within it, any other everywhere. The error is ErrNoToken,
// model.ErrNotFound, model.ErrExpired, model.ErrRevoked, model.ErrForgejoGrantDead, an
// OtherResource or a failure of the store; Challenge answers each of them. A revocation in
// another process is seen within AccessMaxAge.
func (s *Server) Authenticate(r *http.Request, at endpoint.Path) (model.Access, error) {
	header := r.Header.Get("Authorization")
	scheme, token, _ := strings.Cut(header, " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return model.Access{}, ErrNoToken
	}
	a, err := s.access.Access(r.Context(), model.Hash(token))
	if err != nil {
		return model.Access{}, err
	}
	if bound, ok := endpoint.Of(a.Resource); !ok || !at.Within(bound) {
		return model.Access{}, OtherResource(a.Resource)
	}
	return a, nil
}

// Challenge says what to answer to a request to an endpoint that Authenticate refused, or
// whose user Forgejo no longer accepts: 401 with where to log in (RFC 9728 §5.1), which
// header is for WWW-Authenticate. One that
// failed for model.ErrInsufficientScope gets 403 with the scope to ask for. A failure
// that says nothing about the token is 503 without a header, since a client would throw
// away a good one on 401.
func (s *Server) Challenge(at endpoint.Path, err error) (status int, header string, body *oauth.Error) {
	description := bearerFault(err)
	if description == "" && !errors.Is(err, ErrNoToken) {
		body = refusal(err)
		return body.Status(), "", body
	}
	params := []string{
		fmt.Sprintf("resource_metadata=%q", s.resourceMetadataURL(at)),
		fmt.Sprintf("scope=%q", strings.Join(s.scopes(at), " ")),
	}
	status, body = http.StatusUnauthorized, oauth.Errorf("invalid_token", "%s", description)
	if errors.Is(err, model.ErrInsufficientScope) {
		status, body.Code = http.StatusForbidden, "insufficient_scope" // RFC 6750 §3.1
	}
	if description == "" {
		// RFC 6750 §3.1: no error code for a request without a token.
		body.Description = "log in first; WWW-Authenticate says where"
	} else {
		params = append(params, fmt.Sprintf("error=%q", body.Code), fmt.Sprintf("error_description=%q", body.Description))
	}
	return status, "Bearer " + strings.Join(params, ", "), body
}

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
