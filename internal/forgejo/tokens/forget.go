package tokens

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"
)

// Forget deletes the user's set if none of the user's clients can use it any
// more, and reports whether none can. It waits for a refresh on its way, which
// would else bring the set back.
func (t *Tokens) Forget(ctx context.Context, userID string) (bool, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flightTimeout)
	defer cancel()
	name, holder := leaseName(userID), rand.Text()
	for {
		got, err := t.cfg.Store.AcquireLease(ctx, name, holder, leaseTTL)
		if err != nil {
			return false, fmt.Errorf("cannot take the lease on the user's forgejo tokens: %w", err)
		}
		if got {
			break
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return false, fmt.Errorf("cannot get a turn to delete the user's forgejo tokens: %w", err)
		}
	}
	defer t.release(ctx, name, holder)
	return t.cfg.Store.DropUnusedForgejoTokens(ctx, userID)
}
