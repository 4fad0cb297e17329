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

// standing is the condition of a grant, named g, that can still be used: it is
// not revoked, and one of its tokens or its code has time left at @now.
const standing = `g.revoked_at = 0 AND (
	EXISTS (SELECT 1 FROM refresh_tokens t WHERE t.grant_id = g.id AND t.expires_at > @now)
	OR EXISTS (SELECT 1 FROM access_tokens t WHERE t.grant_id = g.id AND t.expires_at > @now)
	OR EXISTS (SELECT 1 FROM device_requests t WHERE t.grant_id = g.id AND t.used_at = 0 AND t.expires_at > @now)
	OR EXISTS (SELECT 1 FROM codes t WHERE t.grant_id = g.id AND t.used_at = 0 AND t.expires_at > @now))`

// lastUse is when a grant, named g, was last used, as far as stored: a token was fetched,
// a session began or went dormant.
const lastUse = `(SELECT MAX(at) FROM (
	SELECT g.redeemed_at AS at UNION ALL SELECT g.used_at
	UNION ALL SELECT t.created_at FROM refresh_tokens t WHERE t.grant_id = g.id) uses)`

// Connection is a client that a user has connected and that still has tokens.
type Connection struct {
	ClientID    string
	ClientName  string // as the client states it
	Kind        model.ClientKind
	RedirectURI string    `gorm:"column:redirect_uri"` // of the latest login; empty for one made before these were kept
	Scope       string    // of all its logins together
	FirstUsedAt time.Time `gorm:"serializer:ms"` // when the first login that stands was redeemed
	LastUsedAt  time.Time `gorm:"serializer:ms"` // see lastUse
	Sessions    int       // running or dormant
}

// ReadOnly reports whether none of the client's logins may write.
func (c Connection) ReadOnly() bool {
	return model.ReadOnly(c.Scope)
}

// Client is what is known of the client, for its name and redirect URI.
func (c Connection) Client() model.Client {
	v := model.Client{ID: c.ClientID, Kind: c.Kind, Name: c.ClientName}
	if c.RedirectURI != "" {
		v.RedirectURIs = []string{c.RedirectURI}
	}
	return v
}

// connectionsQuery makes one row of all a client's grants.
const connectionsQuery = `SELECT g.client_id, c.name AS client_name, c.kind,
		(SELECT l.redirect_uri FROM grants l WHERE l.user_id = g.user_id AND l.client_id = g.client_id AND l.redeemed_at > 0
			ORDER BY l.created_at DESC LIMIT 1) AS redirect_uri,
		string_agg(g.scope, ' ') AS scope, MIN(g.redeemed_at) AS first_used_at,
		MAX(` + lastUse + `) AS last_used_at,
		(SELECT COUNT(*) FROM sessions s WHERE s.user_id = g.user_id AND s.client_id = g.client_id) AS sessions
	FROM grants g JOIN clients c ON c.id = g.client_id
	WHERE g.user_id = @user AND g.redeemed_at > 0 AND ` + standing + `
	GROUP BY g.user_id, g.client_id, c.name, c.kind ORDER BY last_used_at DESC, g.client_id`

// Connections returns the clients that the user has connected, the one used
// last first.
func (s *Store) Connections(ctx context.Context, userID string) ([]Connection, error) {
	var list []Connection
	err := s.db.Reader(ctx).Raw(connectionsQuery, sql.Named("user", userID), sql.Named("now", ms(s.now()))).Scan(&list).Error
	return list, err
}

// Disconnect revokes every grant of the user to the client, to all clients if
// clientID is empty, and returns those that were not revoked before.
func (s *Store) Disconnect(ctx context.Context, userID, clientID string) (grants []model.Grant, err error) {
	err = s.db.Update(ctx, func(tx *gorm.DB) error {
		grants = nil
		ids, err := lockGrants(tx, "user_id = ? AND (client_id = ? OR ? = '')", userID, clientID, clientID)
		if err != nil || len(ids) == 0 {
			return err
		}
		if err := tx.Where("id IN ?", ids).Find(&grants).Error; err != nil {
			return err
		}
		for _, g := range grants {
			if err := s.revoke(tx, g.ID); err != nil {
				return err
			}
		}
		return nil
	})
	return grants, err
}

// DropUnusedForgejoTokens deletes the user's token set if no grant of the user
// can use it any more, and reports whether none can.
func (s *Store) DropUnusedForgejoTokens(ctx context.Context, userID string) (unused bool, err error) {
	err = s.db.Update(ctx, func(tx *gorm.DB) (err error) {
		unused, err = s.dropUnused(tx, userID)
		return err
	})
	return unused && err == nil, err
}

func (s *Store) dropUnused(tx *gorm.DB, userID string) (bool, error) {
	if err := lockUser(tx, userID); err != nil {
		return false, err
	}
	var used int64
	err := tx.Raw("SELECT COUNT(*) FROM grants g WHERE g.user_id = @user AND "+standing,
		sql.Named("user", userID), sql.Named("now", ms(s.now()))).Scan(&used).Error
	if err != nil || used > 0 {
		return false, err
	}
	return true, deleteForgejoTokens(tx, userID)
}

// AccountSession is a browser's login to the account page.
type AccountSession struct {
	Hash      []byte `gorm:"primaryKey"` // SHA-256 of the browser's cookie
	UserID    string
	IdleAt    time.Time `gorm:"serializer:ms"` // it ends then, unless it is used before
	ExpiresAt time.Time `gorm:"serializer:ms"` // it ends then
}

// UseAccountSession returns the user of a session and has it live for at least
// idle from now, within its ExpiresAt. The error is model.ErrNotFound or
// model.ErrExpired.
func (s *Store) UseAccountSession(ctx context.Context, hash []byte, idle time.Duration) (model.User, error) {
	r, err := take[AccountSession](s.db.Reader(ctx), "hash = ?", hash)
	if err != nil {
		return model.User{}, err
	}
	now := s.now()
	if min(ms(r.IdleAt), ms(r.ExpiresAt)) <= ms(now) {
		return model.User{}, model.ErrExpired
	}
	next := ms(now.Add(idle))
	if err := s.db.Exec(ctx, "UPDATE account_sessions SET idle_at = ? WHERE hash = ? AND idle_at < ?", next, hash, next).Error; err != nil {
		return model.User{}, err
	}
	return s.User(ctx, r.UserID)
}

// DeleteAccountSession ends a session. Ending one that is gone is no error.
func (s *Store) DeleteAccountSession(ctx context.Context, hash []byte) error {
	return s.db.Exec(ctx, "DELETE FROM account_sessions WHERE hash = ?", hash).Error
}

type userRow struct {
	model.User `gorm:"embedded"`
	NamedAt    int64 // when the forge told the name; no two of a subject are equal
}

func (userRow) TableName() string { return "users" }

// UpsertUser returns the user that forge knows as subject, makes it when new,
// and records its current name. Whoever else is known by that name, without regard to
// case, has lost it: that user's name is empty until the forge tells it.
func (s *Store) UpsertUser(ctx context.Context, forge, subject, name string) (model.User, error) {
	var u model.User
	err := s.db.Update(ctx, func(tx *gorm.DB) error {
		if err := database.Serial(tx); err != nil { // two who take one name do not see each other
			return err
		}
		fresh := userRow{User: model.User{ID: model.NewID(), Forge: forge, Subject: subject, Name: name}}
		if err := tx.Raw("SELECT COALESCE(MAX(named_at), 0) + 1 FROM users WHERE subject = ?", subject).Scan(&fresh.NamedAt).Error; err != nil {
			return err
		}
		fresh.NamedAt = max(fresh.NamedAt, ms(s.now()))
		err := tx.Exec("UPDATE users SET name = '' WHERE forge = ? AND lower(name) = ? AND name <> '' AND subject <> ?", forge, database.Lower(name), subject).Error
		if err != nil {
			return err
		}
		err = tx.Clauses(clause.OnConflict{
			Columns:   []clause.Column{{Name: "forge"}, {Name: "subject"}},
			DoUpdates: clause.AssignmentColumns([]string{"name", "named_at"}),
		}).Create(&fresh).Error
		if err != nil {
			return err
		}
		u, err = take[model.User](tx, "forge = ? AND subject = ?", forge, subject)
		return err
	})
	return u, err
}

// User returns the user of that id, or model.ErrNotFound.
func (s *Store) User(ctx context.Context, id string) (model.User, error) {
	return take[model.User](s.db.Reader(ctx), "id = ?", id)
}

// Known is the user of that id for the journal. Where none is found, it is all the name
// that there is.
func (s *Store) Known(ctx context.Context, id string) model.User {
	user, err := s.User(ctx, id)
	if err != nil {
		return model.User{ID: id, Name: id}
	}
	return user
}
