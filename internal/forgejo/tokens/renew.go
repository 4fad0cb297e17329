package tokens

import (
	"context"
	"fmt"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

const (
	// vouchFor is how long Forgejo's word that a token is good answers for it.
	vouchFor = 10 * time.Second
	// mostRenewals is how many refreshes a user's 401s cause in each renewalWindow.
	mostRenewals  = 6
	renewalWindow = time.Minute
)

// vouched is an access token that Forgejo calls good, and when it said so.
type vouched struct {
	token string
	at    time.Time
}

// renewals counts a user's refreshes since a time.
type renewals struct {
	since time.Time
	n     int
}

// Renew returns a set whose access token is not stale, which Forgejo has answered
// with 401. Some of its paths answer so whatever the token, and forgejo-mcp may ask them
// as often as it likes. So Forgejo is asked about the token first (RFC 7662), and the set
// comes back as it is if the token is good. It is refreshed only if the stored token
// still is stale, at most six times a minute for each user. Errors are those of Token.
func (t *Tokens) Renew(ctx context.Context, userID, stale string) (model.ForgejoTokens, error) {
	set, err := t.Stored(ctx, userID)
	if err != nil || set.AccessToken != stale || t.isVouched(userID, stale) {
		return set, err
	}
	if err := t.recentlyDown(userID); err != nil {
		return model.ForgejoTokens{}, err
	}
	return t.flight(ctx, userID+"\x00renew\x00"+stale, func(ctx context.Context) (model.ForgejoTokens, error) {
		// An error leaves open what is wrong; the refresh will tell.
		if known, err := t.cfg.Forgejo.Introspect(ctx, stale); err == nil {
			t.learn(ctx, userID, known.Identity)
			t.vouch(userID, stale)
			return set, nil
		}
		if !t.mayRenew(ctx, userID) {
			return model.ForgejoTokens{}, fmt.Errorf("%w: it has refused %d new tokens of this user within a minute", model.ErrForgejoDown, mostRenewals)
		}
		return t.refresh(ctx, userID, set)
	})
}

func (t *Tokens) vouch(userID, token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.vouched[userID] = vouched{token, t.cfg.Now()}
}

func (t *Tokens) isVouched(userID, token string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.vouched[userID]
	return v.token == token && t.cfg.Now().Sub(v.at) < vouchFor
}

// mayRenew counts a refresh, and audits the first that is one too many.
func (t *Tokens) mayRenew(ctx context.Context, userID string) bool {
	t.mu.Lock()
	r := t.renewals[userID]
	if now := t.cfg.Now(); now.Sub(r.since) >= renewalWindow {
		r = renewals{since: now}
	}
	r.n++
	t.renewals[userID] = r
	t.mu.Unlock()
	if r.n == mostRenewals+1 {
		t.event(ctx, userID, "too_often", "forgejo continues to refuse new tokens; no more are asked for within this minute")
	}
	return r.n <= mostRenewals
}
