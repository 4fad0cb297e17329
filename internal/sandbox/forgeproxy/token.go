package forgeproxy

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// MaxToken is the largest token in bytes; Forgejo's have some 850.
const MaxToken = 16 << 10

// CheckToken refuses what cannot stand in a header field (RFC 9110 §5.5). Its
// error does not quote the token.
func CheckToken(token string) error {
	if token == "" {
		return errors.New("the forgejo token is empty")
	}
	if len(token) > MaxToken {
		return fmt.Errorf("the forgejo token has more than %d bytes", MaxToken)
	}
	for _, c := range []byte(token) {
		if c <= ' ' || c >= 0x7f {
			return errors.New("the forgejo token holds characters that a header cannot carry")
		}
	}
	return nil
}

// tokens holds the token in use and lets requests wait for the next.
type tokens struct {
	mu      sync.Mutex
	current string
	marked  *marks        // of current and the one before
	changed chan struct{} // closed at the next swap
	waiting map[string]int
}

func newTokens(first string) *tokens {
	return &tokens{current: first, marked: newMarks(first), changed: make(chan struct{}), waiting: make(map[string]int)}
}

func (t *tokens) marks() *marks {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.marked
}

func (t *tokens) get() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current
}

// swap makes token the one in use; the same token again wakes nobody.
func (t *tokens) swap(token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if token == t.current {
		return
	}
	t.current, t.marked = token, newMarks(t.current, token)
	close(t.changed)
	t.changed = make(chan struct{})
}

// none lets the requests that wait for another token go without.
func (t *tokens) none() {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.changed)
	t.changed = make(chan struct{})
}

// after returns the token that replaced stale, waiting for it until ctx ends.
// It calls report if it is the first to wait on stale. ok is false when none
// came or report failed.
func (t *tokens) after(ctx context.Context, stale string, report func() error) (token string, ok bool) {
	t.mu.Lock()
	token, changed := t.current, t.changed
	if token != stale {
		t.mu.Unlock()
		return token, true
	}
	t.waiting[stale]++
	first := t.waiting[stale] == 1
	t.mu.Unlock()
	defer t.leave(stale)
	if first && report() != nil {
		return "", false
	}
	select {
	case <-changed:
		token := t.get()
		return token, token != stale
	case <-ctx.Done():
		return "", false
	}
}

func (t *tokens) leave(stale string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting[stale]--; t.waiting[stale] == 0 {
		delete(t.waiting, stale)
	}
}
