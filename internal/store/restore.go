package store

import (
	"context"
	"fmt"

	"gorm.io/gorm"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store/database"
)

// Restore is what the audit is to say of a restore.
type Restore struct {
	Operator string
	Outcome  string
	Detail   string
}

// Restored makes a database that comes from a backup fit for use. What was of the moment
// is gone: units, logins on their way, logins to the account page, unused codes. Each
// grant may continue with a refresh token that was made after the backup. The broker's
// audit tells of it at the next start.
func (s *Store) Restored(ctx context.Context, r Restore) error {
	err := s.db.Update(ctx, func(tx *gorm.DB) error {
		for _, sql := range []string{
			"UPDATE sessions SET unit_id = '', epoch = 0", "DELETE FROM session_states", "DELETE FROM leases",
			// Both may have ended since: the one was finished, the other logged out.
			"DELETE FROM logins", "DELETE FROM account_sessions", "DELETE FROM codes WHERE used_at = 0", "DELETE FROM device_requests WHERE used_at = 0",
		} {
			if err := tx.Exec(sql).Error; err != nil {
				return err
			}
		}
		if err := tx.Exec("UPDATE grants SET restored = ?", restoredAsIs).Error; err != nil {
			return err
		}
		return tx.Exec("INSERT INTO restores (restored_at, operator, outcome, detail, told_at) VALUES (?, ?, ?, ?, 0)", ms(s.now()), r.Operator, r.Outcome, r.Detail).Error
	})
	if err != nil {
		return fmt.Errorf("cannot prepare the database: %w", err)
	}
	return nil
}

// Replaced records, of a grant that was restored, up to which generation its refresh tokens
// were made before the restore. The one before that may be the newest that its client has,
// if an answer was lost; those before are spent. A grant that is gone is no error.
func (s *Store) Replaced(ctx context.Context, grantID string, generation int) error {
	return s.db.Exec(ctx, "UPDATE grants SET least_generation = ? WHERE id = ? AND restored = ? AND least_generation < ?", generation-1, grantID, restoredAsIs, generation-1).Error
}

// Narrowed has a grant only read from now on. One that is gone is no error.
func (s *Store) Narrowed(ctx context.Context, grantID string) error {
	return s.db.Exec(ctx, "UPDATE grants SET scope = ?, requested = ?, narrowed = TRUE WHERE id = ? AND scope <> ?",
		model.ScopeRead, model.ScopeRead, grantID, model.ScopeRead).Error
}

// DropAccessTokens ends the access tokens of a grant; its client gets another by its
// refresh token.
func (s *Store) DropAccessTokens(ctx context.Context, grantID string) error {
	return s.db.Update(ctx, func(tx *gorm.DB) error {
		return tx.Where("grant_id = ?", grantID).Delete(&accessRow{}).Error
	})
}

// Untold returns restores that the audit has not told of, to the caller alone.
func (s *Store) Untold(ctx context.Context) ([]Restore, error) {
	var list []Restore
	err := s.db.Update(ctx, func(tx *gorm.DB) error {
		list = nil
		err := database.Locked(tx).Table("restores").Select("operator, outcome, detail").Where("told_at = 0").Order("id").Find(&list).Error
		if err != nil {
			return err
		}
		return tx.Exec("UPDATE restores SET told_at = ? WHERE told_at = 0", ms(s.now())).Error
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read what was restored: %w", err)
	}
	return list, nil
}

// EndGrants ends those grants that pick chooses of all that were not revoked, also of those
// whose tokens have run out, and their sessions. It returns how many of each. pick is told
// the forge's number of the user.
func (s *Store) EndGrants(ctx context.Context, pick func(g model.Grant, subject string) bool) (grants, sessions int, err error) {
	err = s.db.Update(ctx, func(tx *gorm.DB) error {
		grants, sessions = 0, 0
		if _, err := lockGrants(tx, "TRUE"); err != nil {
			return err
		}
		var all []struct {
			model.Grant `gorm:"embedded"`
			Subject     string
		}
		err := tx.Raw("SELECT g.*, u.subject FROM grants g JOIN users u ON u.id = g.user_id WHERE g.revoked_at = 0").Scan(&all).Error
		if err != nil {
			return err
		}
		for _, g := range all {
			if !pick(g.Grant, g.Subject) {
				continue
			}
			if err := s.revoke(tx, g.ID); err != nil {
				return err
			}
			if _, err := s.dropUnused(tx, g.UserID); err != nil {
				return err
			}
			res := tx.Exec("DELETE FROM sessions WHERE grant_id = ?", g.ID)
			if res.Error != nil {
				return res.Error
			}
			grants, sessions = grants+1, sessions+int(res.RowsAffected)
		}
		return nil
	})
	return grants, sessions, err
}
