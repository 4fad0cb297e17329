package forgeproxy

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
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
	marked  *marks         // of current and the one before
	changed chan struct{}  // closed at the next swap
	none    control.Reason // why there is no other token, as was said last
	waiting map[string]int
}

// errNone says that there is no other token: what the forge says of this one stands.
var errNone = errors.New("there is no other token")

// unrenewed are the errors of requests that cannot be sent again though the login may be
// good, so that the forge's 401 would be no fit answer.
var unrenewed = map[control.Reason]*refusal{
	control.ReasonForgeUnreachable: {reason: control.ReasonForgeUnreachable, text: "the forge cannot be reached right now; nothing was done"},
	control.ReasonInternal:         {reason: control.ReasonInternal, text: "the access token has run out and cannot be renewed right now; nothing was done"},
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

// giveUp lets the requests that wait for another token go without.
func (t *tokens) giveUp(why control.Reason) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.none = why
	close(t.changed)
	t.changed = make(chan struct{})
}

// after returns the token that replaced stale, waiting for it until ctx ends.
// It calls report if it is the first to wait on stale. The error is errNone or one of
// unrenewed.
func (t *tokens) after(ctx context.Context, stale string, report func() error) (string, error) {
	t.mu.Lock()
	token, changed := t.current, t.changed
	if token != stale {
		t.mu.Unlock()
		return token, nil
	}
	t.waiting[stale]++
	first := t.waiting[stale] == 1
	t.mu.Unlock()
	defer t.leave(stale)
	if first && report() != nil {
		return "", unrenewed[control.ReasonInternal]
	}
	select {
	case <-changed:
		return t.instead(stale)
	case <-ctx.Done(): // the broker still waits for the forge
		return "", unrenewed[control.ReasonForgeUnreachable]
	}
}

// instead returns the token in use if it is another than stale.
func (t *tokens) instead(stale string) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch why := unrenewed[t.none]; {
	case t.current != stale:
		return t.current, nil
	case why != nil:
		return "", why
	}
	return "", errNone
}

func (t *tokens) leave(stale string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting[stale]--; t.waiting[stale] == 0 {
		delete(t.waiting, stale)
	}
}
