package store

import (
	"context"
	"database/sql"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store/database"
)

// UserUse is a user, known by the forge's number. One whom the forge knew under several of
// its URLs is one user here.
type UserUse struct {
	Subject     string
	Name        string    // of today, as far as known; empty for one who was never here
	BlockedAt   time.Time `gorm:"serializer:ms"` // zero for one who is not blocked
	BlockedBy   string    // operator
	LastLoginAt time.Time `gorm:"serializer:ms"` // of a client, also of one that has ended since
	LastUsedAt  time.Time `gorm:"serializer:ms"` // see lastUse; likewise
}

const usersQuery = `SELECT * FROM (SELECT k.subject,
		COALESCE((SELECT u.name FROM users u WHERE u.subject = k.subject ORDER BY u.named_at DESC LIMIT 1), '') AS name,
		COALESCE(b.blocked_at, 0) AS blocked_at, COALESCE(b.blocked_by, '') AS blocked_by,
		COALESCE((SELECT MAX(g.created_at) FROM grants g JOIN users u ON u.id = g.user_id WHERE u.subject = k.subject AND g.redeemed_at > 0), 0) AS last_login_at,
		COALESCE((SELECT MAX(` + lastUse + `) FROM grants g JOIN users u ON u.id = g.user_id WHERE u.subject = k.subject), 0) AS last_used_at
	FROM (SELECT subject FROM users UNION SELECT subject FROM blocks) k LEFT JOIN blocks b ON b.subject = k.subject) a
	ORDER BY name = '', lower(name), subject`

// Users returns all users who have logged in or are blocked, by name.
func (s *Store) Users(ctx context.Context) ([]UserUse, error) {
	var all []UserUse
	err := s.db.Reader(ctx).Raw(usersQuery).Scan(&all).Error
	return all, err
}

// GrantUse is a grant that can still be used, and how it is.
type GrantUse struct {
	model.Grant `gorm:"embedded"`
	Subject     string // the forge's number of the user
	UserName    string
	ClientName  string
	LastUsedAt  time.Time `gorm:"serializer:ms"` // see lastUse; zero before its code is redeemed
	ExpiresAt   time.Time `gorm:"serializer:ms"` // of the last of its tokens or its code
}

const grantsQuery = `SELECT g.*, u.subject, u.name AS user_name, c.name AS client_name, ` + lastUse + ` AS last_used_at,
		(SELECT MAX(at) FROM (
			SELECT t.expires_at AS at FROM refresh_tokens t WHERE t.grant_id = g.id
			UNION ALL SELECT t.expires_at FROM access_tokens t WHERE t.grant_id = g.id
			UNION ALL SELECT t.expires_at FROM device_requests t WHERE t.grant_id = g.id AND t.used_at = 0
			UNION ALL SELECT t.expires_at FROM codes t WHERE t.grant_id = g.id AND t.used_at = 0) ends) AS expires_at
	FROM grants g JOIN users u ON u.id = g.user_id JOIN clients c ON c.id = g.client_id
	WHERE ` + standing

// Grants returns the grants of all users that can still be used, by user, the oldest first.
func (s *Store) Grants(ctx context.Context) ([]GrantUse, error) {
	return s.grants(s.db.Reader(ctx), " ORDER BY lower(u.name), u.subject, g.created_at, g.id")
}

// grants returns those that more, a part of a statement, chooses of all that stand.
func (s *Store) grants(tx *gorm.DB, more string, args ...any) (list []GrantUse, err error) {
	err = tx.Raw(grantsQuery+more, append(args, sql.Named("now", ms(s.now())))...).Scan(&list).Error
	return list, err
}

// RevokeGrants ends the grants of those ids and returns the ones that could be used until
// now. What Forgejo has issued to users who have no other is deleted.
func (s *Store) RevokeGrants(ctx context.Context, ids []string) (ended []GrantUse, err error) {
	err = s.db.Update(ctx, func(tx *gorm.DB) (err error) {
		if _, err = lockGrants(tx, "id IN ?", ids); err != nil {
			return err
		}
		if ended, err = s.grants(tx, " AND g.id IN @ids", sql.Named("ids", ids)); err != nil {
			return err
		}
		for _, g := range ended {
			if err := s.revoke(tx, g.ID); err != nil {
				return err
			}
			if _, err := s.dropUnused(tx, g.UserID); err != nil {
				return err
			}
		}
		return nil
	})
	return ended, err
}

// UserEnd is what has ended of a user.
type UserEnd struct {
	Users  []model.User // who the user is at each URL of the forge; none if never here
	Grants []GrantUse   // that could be used until now
}

// RevokeUser ends all that a user has: grants with their codes and tokens, logins to the
// account page, and what Forgejo has issued. A login that began before leads nowhere.
// model.ErrNotFound: the user was never here.
func (s *Store) RevokeUser(ctx context.Context, subject string) (end UserEnd, err error) {
	err = s.db.Update(ctx, func(tx *gorm.DB) error {
		end, err = s.endUser(tx, subject)
		if err == nil && len(end.Users) == 0 {
			err = model.ErrNotFound
		}
		return err
	})
	return end, err
}

// BlockUser is RevokeUser, and has the database refuse that user from then on
// (model.ErrBlocked), whatever name comes with the number, also one who was never here. It
// reports whether the user was not blocked before.
func (s *Store) BlockUser(ctx context.Context, subject, by string) (end UserEnd, fresh bool, err error) {
	err = s.db.Update(ctx, func(tx *gorm.DB) error {
		if err := database.Serial(tx); err != nil { // with UpsertUser: there may be no row of the user yet
			return err
		}
		res := tx.Clauses(clause.OnConflict{DoNothing: true}).Create(&blockRow{Subject: subject, BlockedAt: ms(s.now()), BlockedBy: by})
		if res.Error != nil {
			return res.Error
		}
		fresh = res.RowsAffected == 1
		end, err = s.endUser(tx, subject)
		return err
	})
	return end, fresh, err
}

type blockRow struct {
	Subject   string `gorm:"primaryKey"`
	BlockedAt int64
	BlockedBy string
}

func (blockRow) TableName() string { return "blocks" }

// UnblockUser lets a user log in again. model.ErrNotFound: the user is not blocked.
func (s *Store) UnblockUser(ctx context.Context, subject string) error {
	return one(s.db.Exec(ctx, "DELETE FROM blocks WHERE subject = ?", subject))
}

// Blocked reports whether the user of that id is blocked.
func (s *Store) Blocked(ctx context.Context, userID string) (bool, error) {
	var n int64
	err := s.db.Reader(ctx).Raw("SELECT COUNT(*) FROM blocks b JOIN users u ON u.subject = b.subject WHERE u.id = ?", userID).Scan(&n).Error
	return n > 0, err
}

func (s *Store) endUser(tx *gorm.DB, subject string) (end UserEnd, err error) {
	if err := database.Locked(tx).Where("subject = ?", subject).Order("id").Find(&end.Users).Error; err != nil {
		return end, err
	}
	if end.Grants, err = s.grants(tx, " AND u.subject = @subject", sql.Named("subject", subject)); err != nil {
		return end, err
	}
	for _, u := range end.Users {
		ids, err := lockGrants(tx, "user_id = ?", u.ID) // also those whose tokens have run out
		if err != nil {
			return end, err
		}
		for _, id := range ids {
			if err := s.revoke(tx, id); err != nil {
				return end, err
			}
		}
		if err := tx.Where("user_id = ?", u.ID).Delete(&AccountSession{}).Error; err != nil {
			return end, err
		}
		if err := deleteForgejoTokens(tx, u.ID); err != nil {
			return end, err
		}
	}
	if err := tx.Exec("UPDATE generation SET n = n + 1").Error; err != nil {
		return end, err
	}
	return end, tx.Exec("UPDATE users SET revoked = ("+database.GenerationQuery+") WHERE subject = ?", subject).Error
}
