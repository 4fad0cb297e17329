package store

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"gorm.io/gorm"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store/database"
)

type grantRow struct {
	model.Grant `gorm:"embedded"`
	RedeemedAt  int64
	RedirectURI string `gorm:"column:redirect_uri"` // of the code
	UsedAt      int64  // when a session of it was last used

	Restored        int // see restored
	LeastGeneration int // of refresh tokens that were not replaced before a restore
}

func (grantRow) TableName() string { return "grants" }

// Code is an authorization code with what the token request must match.
type Code struct {
	Hash        []byte    `gorm:"primaryKey"`          // SHA-256 of the code
	RedirectURI string    `gorm:"column:redirect_uri"` // of the authorization request
	Challenge   string    // PKCE S256
	ExpiresAt   time.Time `gorm:"serializer:ms"`
}

type codeRow struct {
	Code    `gorm:"embedded"`
	GrantID string
	UsedAt  int64
}

func (codeRow) TableName() string { return "codes" }

func insertGrant(tx *gorm.DB, g model.Grant, c Code) error {
	if err := tx.Create(&grantRow{Grant: g, RedirectURI: c.RedirectURI}).Error; err != nil {
		return err
	}
	return tx.Create(&codeRow{Code: c, GrantID: g.ID}).Error
}

// Pair is an access token and its refresh token, in clear. It prints redacted.
type Pair struct {
	Access           string
	Refresh          string // made by the store
	Generation       int    // which refresh token of its grant it is, from 1 on; made by the store
	AccessExpiresAt  time.Time
	RefreshExpiresAt time.Time
}

// Format hides the tokens, whatever the verb.
func (p Pair) Format(f fmt.State, _ rune) { fmt.Fprint(f, "Pair(redacted)") }

// LogValue hides the tokens.
func (p Pair) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(p)) }

// Code returns a code, used or not, and its grant, for the caller to hold against what
// comes with the code: neither changes but by its use. model.ErrNotFound: it is unknown.
func (s *Store) Code(ctx context.Context, code string) (model.Grant, Code, error) {
	g, c, err := readCode(s.db.Reader(ctx), code)
	return g.Grant, c.Code, err
}

func readCode(tx *gorm.DB, code string) (g grantRow, c codeRow, err error) {
	if c, err = take[codeRow](tx, "hash = ?", model.Hash(code)); err == nil {
		g, err = take[grantRow](tx, "id = ?", c.GrantID)
	}
	return g, c, err
}

// RedeemCode trades a code of the client by for the first tokens of its family, once, and
// returns them with the refresh token. The family is bound to by's secret, if it has one.
// Errors: model.ErrNotFound for an unknown code, model.ErrExpired, model.ErrRevoked when
// the grant has ended, model.ErrReused when the code was used before, in which case the
// family is revoked and the grant returned.
func (s *Store) RedeemCode(ctx context.Context, code string, by model.Client, first Pair) (model.Grant, Pair, error) {
	var g grantRow
	var out Pair
	var reused bool // this refusal must not roll back
	err := s.db.Update(ctx, func(tx *gorm.DB) error {
		var c codeRow
		var err error
		if g, c, err = readCode(database.Locked(tx), code); err != nil {
			return err
		}
		used, err := s.useCode(tx, g, c)
		if err != nil {
			return err
		}
		if reused = !used; reused {
			return s.revoke(tx, g.ID)
		}
		out, err = s.startFamily(tx, g, by, first)
		return err
	})
	if err == nil && reused {
		err = model.ErrReused
	}
	return g.Grant, out, err
}

// startFamily makes the first tokens of a grant, bound to by's secret, if it has one.
func (s *Store) startFamily(tx *gorm.DB, g grantRow, by model.Client, first Pair) (Pair, error) {
	changes := map[string]any{"redeemed_at": ms(s.now())}
	if len(by.SecretHash) > 0 {
		changes["secret_hash"] = by.SecretHash
	}
	if err := tx.Model(&g).Updates(changes).Error; err != nil {
		return Pair{}, err
	}
	first.Generation = 1
	err := s.insertPair(tx, g.ID, &first)
	return first, err
}

// useCode marks the code as used and reports whether it was unused. The mark is
// an UPDATE that only one caller can win, whatever the isolation.
func (s *Store) useCode(tx *gorm.DB, g grantRow, c codeRow) (bool, error) {
	now := ms(s.now())
	switch {
	case !g.RevokedAt.IsZero():
		return false, model.ErrRevoked
	case c.UsedAt == 0 && ms(c.ExpiresAt) <= now:
		return false, model.ErrExpired
	}
	res := tx.Model(&codeRow{}).Where("hash = ? AND used_at = 0", c.Hash).Update("used_at", now)
	return res.RowsAffected == 1, res.Error
}

// Grant returns the grant of that id, or model.ErrNotFound.
func (s *Store) Grant(ctx context.Context, id string) (model.Grant, error) {
	r, err := take[grantRow](s.db.Reader(ctx), "id = ?", id)
	return r.Grant, err
}

// lockGrants returns those grants that stand and has no other transaction change them or
// what their users have, in an order that all keep to.
func lockGrants(tx *gorm.DB, where string, args ...any) (ids []string, err error) {
	where = "revoked_at = 0 AND (" + where + ")"
	of := tx.Session(&gorm.Session{}).Table("grants").Select("user_id").Where(where, args...)
	var users []string
	if err := database.Locked(tx).Table("users").Where("id IN (?)", of).Order("id").Pluck("id", &users).Error; err != nil {
		return nil, err
	}
	err = database.Locked(tx).Table("grants").Where(where, args...).Order("id").Pluck("id", &ids).Error
	return ids, err
}

// revoke also forgets the sealed successors: nothing will ask for them again.
func (s *Store) revoke(tx *gorm.DB, grantID string) error {
	err := tx.Exec("UPDATE grants SET revoked_at = ? WHERE id = ? AND revoked_at = 0", ms(s.now()), grantID).Error
	if err != nil {
		return err
	}
	return tx.Exec("UPDATE refresh_tokens SET successor_sealed = NULL WHERE grant_id = ? AND successor_sealed IS NOT NULL", grantID).Error
}
