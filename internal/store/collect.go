package store

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"
)

// How long rows outlive their use, so that a late or repeated request still
// gets the precise answer.
const (
	keepSpent      = 24 * time.Hour      // ended logins, codes, tokens, leases
	keepDevice     = time.Hour           // requests of devices, which anybody can make
	keepUngranted  = 24 * time.Hour      // clients without a grant
	keepRevoked    = 90 * 24 * time.Hour // revoked grants, and with them their clients; what nobody has asked about a user since
	unredeemedTime = 24 * time.Hour      // grants whose code was never redeemed
)

// Collect deletes what has outlived its use. A redeemed grant that stands is
// kept, and with it its client, also when all its tokens have expired: real
// clients come back with an old client id. So is a client that was removed, if its id
// would be good without its row. It is cheap; call it every few minutes.
func (s *Store) Collect(ctx context.Context) error {
	now := s.now()
	ago := func(d time.Duration) int64 { return ms(now.Add(-d)) }
	steps := []struct {
		sql  string
		args []any
	}{
		{"DELETE FROM logins WHERE expires_at < ?", []any{ago(keepSpent)}},
		{"DELETE FROM device_requests WHERE expires_at < ?", []any{ago(keepDevice)}},
		{"DELETE FROM account_sessions WHERE idle_at < ? OR expires_at < ?", []any{ms(now), ms(now)}},
		{"DELETE FROM assertions WHERE expires_at < ?", []any{ms(now)}},
		{"DELETE FROM memberships WHERE asked_at < ?", []any{ago(keepRevoked)}},
		{"DELETE FROM leases WHERE expires_at < ? - ?", []any{s.db.Now(now), keepSpent.Milliseconds()}},
		{"DELETE FROM access_tokens WHERE expires_at < ?", []any{ago(keepSpent)}},
		{"DELETE FROM refresh_tokens WHERE expires_at < ?", []any{ago(keepSpent)}},
		{"DELETE FROM codes WHERE expires_at < ?", []any{ago(keepSpent)}},
		// Past its grace window a sealed successor is a secret without a use.
		{`UPDATE refresh_tokens SET successor_sealed = NULL WHERE successor_sealed IS NOT NULL AND EXISTS (
			SELECT 1 FROM refresh_tokens n WHERE n.hash = refresh_tokens.successor_hash AND n.first_used_at > 0 AND n.first_used_at < ?)`,
			[]any{ago(Grace)}},
		{`DELETE FROM session_states WHERE NOT EXISTS (
			SELECT 1 FROM sessions s WHERE s.id = session_states.session_id AND s.unit_id = session_states.unit_id)`, nil},
		{`DELETE FROM grants WHERE redeemed_at = 0 AND created_at < ?
			AND NOT EXISTS (SELECT 1 FROM codes WHERE grant_id = grants.id)
			AND NOT EXISTS (SELECT 1 FROM sessions WHERE grant_id = grants.id)`, []any{ago(unredeemedTime)}},
		{`DELETE FROM grants WHERE revoked_at > 0 AND revoked_at < ?
			AND NOT EXISTS (SELECT 1 FROM sessions WHERE grant_id = grants.id)`, []any{ago(keepRevoked)}},
		// Those that registered with earlier versions have no dot in their ids.
		{`DELETE FROM clients WHERE created_at < ? AND (kind <> 'operator' OR deleted_at > 0)
			AND NOT (kind = 'registered' AND deleted_at > 0 AND id LIKE '%.%')
			AND NOT EXISTS (SELECT 1 FROM grants WHERE client_id = clients.id)
			AND NOT EXISTS (SELECT 1 FROM logins WHERE client_id = clients.id)
			AND NOT EXISTS (SELECT 1 FROM sessions WHERE client_id = clients.id)`, []any{ago(keepUngranted)}},
	}
	err := s.db.Update(ctx, func(tx *gorm.DB) error {
		for _, step := range steps {
			if err := tx.Exec(step.sql, step.args...).Error; err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot collect expired rows: %w", err)
	}
	return nil
}
