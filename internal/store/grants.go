package store

import (
	"context"
	"log/slog"
	"time"

	"gorm.io/gorm"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

type grantRow struct {
	ID         string `gorm:"primaryKey"`
	UserID     string
	ClientID   string
	Scope      string
	Resource   string
	CreatedAt  int64 `gorm:"autoCreateTime:false"`
	RedeemedAt int64
	RevokedAt  int64

	RedirectURI string `gorm:"column:redirect_uri"` // of the code
	UsedAt      int64  // when a session of it was last used
	Requested   string
}

func (grantRow) TableName() string { return "grants" }

func (r grantRow) grant() model.Grant {
	return model.Grant{
		ID: r.ID, UserID: r.UserID, ClientID: r.ClientID, Scope: r.Scope, Requested: r.Requested, Resource: r.Resource,
		CreatedAt: fromMS(r.CreatedAt), RevokedAt: fromMS(r.RevokedAt),
	}
}

type codeRow struct {
	Hash        []byte `gorm:"primaryKey"`
	GrantID     string
	RedirectURI string `gorm:"column:redirect_uri"`
	Challenge   string
	ExpiresAt   int64
	UsedAt      int64
}

func (codeRow) TableName() string { return "codes" }

// Code is an authorization code with what the token request must match.
type Code struct {
	Hash        []byte // SHA-256 of the code
	RedirectURI string // of the authorization request
	Challenge   string // PKCE S256
	ExpiresAt   time.Time
}

// CreateGrant stores a grant and the code that redeems it.
func (s *Store) CreateGrant(ctx context.Context, g model.Grant, c Code) error {
	return s.update(ctx, func(tx *gorm.DB) error { return insertGrant(tx, g, c) })
}

func insertGrant(tx *gorm.DB, g model.Grant, c Code) error {
	err := tx.Create(&grantRow{
		ID: g.ID, UserID: g.UserID, ClientID: g.ClientID, Scope: g.Scope, Resource: g.Resource, CreatedAt: ms(g.CreatedAt),
		RedirectURI: c.RedirectURI, Requested: g.Requested,
	}).Error
	if err != nil {
		return err
	}
	return tx.Create(&codeRow{
		Hash: c.Hash, GrantID: g.ID, RedirectURI: c.RedirectURI, Challenge: c.Challenge, ExpiresAt: ms(c.ExpiresAt),
	}).Error
}

// Pair is an access token and its refresh token, in clear. It prints redacted.
type Pair struct {
	Access           string
	Refresh          string
	AccessExpiresAt  time.Time
	RefreshExpiresAt time.Time
}

// String hides the tokens.
func (p Pair) String() string { return "Pair(redacted)" }

// GoString hides the tokens.
func (p Pair) GoString() string { return p.String() }

// LogValue hides the tokens.
func (p Pair) LogValue() slog.Value { return slog.StringValue(p.String()) }

// RedeemCode trades a code for the first tokens of its family, once. check sees
// the grant and the code before anything is consumed, and its error is returned
// as it is.
//
// Other errors: model.ErrNotFound for an unknown code, model.ErrExpired,
// model.ErrRevoked when the grant has ended, model.ErrReused when the code
// was used before, in which case the family is revoked and the grant returned.
func (s *Store) RedeemCode(ctx context.Context, code string, first Pair, check func(model.Grant, Code) error) (model.Grant, error) {
	var g grantRow
	var reused bool // this refusal must not roll back
	err := s.update(ctx, func(tx *gorm.DB) error {
		reused = false
		var c codeRow
		if err := tx.Where("hash = ?", model.Hash(code)).Take(&c).Error; err != nil {
			return err
		}
		if err := tx.Where("id = ?", c.GrantID).Take(&g).Error; err != nil {
			return err
		}
		if err := check(g.grant(), Code{Hash: c.Hash, RedirectURI: c.RedirectURI, Challenge: c.Challenge, ExpiresAt: fromMS(c.ExpiresAt)}); err != nil {
			return err
		}
		if used, err := s.useCode(tx, g, c); err != nil {
			return err
		} else if !used {
			reused = true
			return s.revoke(tx, g.ID)
		}
		if err := tx.Model(&g).Update("redeemed_at", ms(s.now())).Error; err != nil {
			return err
		}
		return insertPair(tx, g.ID, first, s.now())
	})
	if err == nil && reused {
		err = model.ErrReused
	}
	return g.grant(), err
}

// useCode marks the code as used and reports whether it was unused. The mark is
// an UPDATE that only one caller can win, whatever the isolation.
func (s *Store) useCode(tx *gorm.DB, g grantRow, c codeRow) (bool, error) {
	now := ms(s.now())
	switch {
	case g.RevokedAt != 0:
		return false, model.ErrRevoked
	case c.UsedAt == 0 && c.ExpiresAt <= now:
		return false, model.ErrExpired
	}
	res := tx.Model(&codeRow{}).Where("hash = ? AND used_at = 0", c.Hash).Update("used_at", now)
	return res.RowsAffected == 1, res.Error
}

// Grant returns the grant of that id, or model.ErrNotFound.
func (s *Store) Grant(ctx context.Context, id string) (model.Grant, error) {
	var r grantRow
	err := s.reader(ctx).Where("id = ?", id).Take(&r).Error
	return r.grant(), wrap(err)
}

// revoke also forgets the sealed successors: nothing will ask for them again.
func (s *Store) revoke(tx *gorm.DB, grantID string) error {
	err := tx.Exec("UPDATE grants SET revoked_at = ? WHERE id = ? AND revoked_at = 0", ms(s.now()), grantID).Error
	if err != nil {
		return err
	}
	return tx.Exec("UPDATE refresh_tokens SET successor_sealed = NULL WHERE grant_id = ? AND successor_sealed IS NOT NULL", grantID).Error
}
