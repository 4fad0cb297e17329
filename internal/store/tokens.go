package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/fjmcp/fjmcp-broker/internal/proto/endpoint"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store/database"
	"github.com/fjmcp/fjmcp-broker/internal/store/sealed"
)

// Grace is how long after the first use of a successor its predecessor still
// returns it. Real clients refresh from two addresses or several processes at
// once, and lose answers.
const Grace = 60 * time.Second

type refreshRow struct {
	Hash            []byte `gorm:"primaryKey"`
	GrantID         string
	CreatedAt       int64 `gorm:"autoCreateTime:false"`
	ExpiresAt       int64
	FirstUsedAt     int64
	Generation      int
	SuccessorHash   []byte
	SuccessorSealed []byte
}

func (refreshRow) TableName() string { return "refresh_tokens" }

type accessRow struct {
	Hash        []byte `gorm:"primaryKey"`
	GrantID     string
	RefreshHash []byte
	ExpiresAt   int64
}

func (accessRow) TableName() string { return "access_tokens" }

// insertPair gives p its refresh token and stores both.
func (s *Store) insertPair(tx *gorm.DB, grantID string, p *Pair) error {
	now := ms(s.now())
	token, err := s.mint(issued{grantID, p.Generation, now, ms(p.RefreshExpiresAt)})
	if err != nil {
		return err
	}
	p.Refresh = token
	row := refreshRow{Hash: model.Hash(token), GrantID: grantID, CreatedAt: now, ExpiresAt: ms(p.RefreshExpiresAt), Generation: p.Generation}
	if err := tx.Create(&row).Error; err != nil {
		return err
	}
	return insertAccess(tx, grantID, row.Hash, *p)
}

func insertAccess(tx *gorm.DB, grantID string, refreshHash []byte, p Pair) error {
	return tx.Create(&accessRow{Hash: model.Hash(p.Access), GrantID: grantID, RefreshHash: refreshHash, ExpiresAt: ms(p.AccessExpiresAt)}).Error
}

// accessView is one access token with all that stands behind it.
type accessView struct {
	model.Access `gorm:"embedded"`
	RefreshHash  []byte
	FirstUsedAt  int64
	RevokedAt    int64
	Alive        bool // Forgejo's token set
}

const accessQuery = `SELECT a.grant_id, a.refresh_hash, a.expires_at, COALESCE(r.first_used_at, 1) AS first_used_at,
		g.revoked_at, EXISTS (SELECT 1 FROM forgejo_tokens f WHERE f.user_id = g.user_id AND NOT f.withheld) AS alive, g.scope, g.requested, g.narrowed, g.resource, g.ceiling, g.client_id, c.name AS client, u.id AS user_id, u.forge AS user_forge, u.subject AS user_subject, u.name AS user_name
	FROM access_tokens a
	JOIN grants g ON g.id = a.grant_id
	JOIN clients c ON c.id = g.client_id
	JOIN users u ON u.id = g.user_id
	LEFT JOIN refresh_tokens r ON r.hash = a.refresh_hash
	WHERE a.hash = ?`

// Access returns what an access token stands for, given its SHA-256. The error
// is model.ErrNotFound, model.ErrRevoked, model.ErrExpired, or
// model.ErrForgejoGrantDead while the user has no Forgejo token set. The first
// use is recorded: it starts the grace window of the refresh token before.
func (s *Store) Access(ctx context.Context, tokenHash []byte) (model.Access, error) {
	var v accessView
	if err := s.db.Reader(ctx).Raw(accessQuery, tokenHash).Take(&v).Error; err != nil {
		return model.Access{}, database.Error(err)
	}
	switch {
	case v.RevokedAt != 0:
		return model.Access{}, model.ErrRevoked
	case ms(v.ExpiresAt) <= ms(s.now()):
		return model.Access{}, model.ErrExpired
	case !v.Alive:
		return model.Access{}, model.ErrForgejoGrantDead
	}
	if v.FirstUsedAt == 0 {
		err := s.db.Update(ctx, func(db *gorm.DB) error { return markUsed(db, v.RefreshHash, s.now()) })
		if err != nil {
			return model.Access{}, fmt.Errorf("cannot record the use of a token: %w", err)
		}
	}
	return v.Access, nil
}

func markUsed(tx *gorm.DB, refreshHash []byte, now time.Time) error {
	return tx.Exec("UPDATE refresh_tokens SET first_used_at = ? WHERE hash = ? AND first_used_at = 0", ms(now), refreshHash).Error
}

// Asked is what a client asks for with a refresh; the zero value for nothing.
type Asked struct {
	Scope    string
	Resource endpoint.Path
}

// within reports whether what is asked for is not more than what the login was for.
func (a Asked) within(resource string) bool {
	bound, ok := endpoint.Of(resource)
	return a.Resource == (endpoint.Path{}) || ok && a.Resource.Within(bound)
}

// Rotate trades a refresh token of the client by for its successor. The first call
// stores next, with a refresh token that it makes, and returns it. Until the successor is
// first used, as access or refresh token, and for Grace after that, further calls return
// that same successor, with a new access token if the old one's time is over. A grant that
// was restored from a backup continues with a token that was made after the backup, see
// spent.
//
// A scope that names model.ScopeRead and not model.ScopeWrite narrows the grant, and with
// it every token of the family, for good (RFC 6749 §6). A resource does not: the successor
// is for what the login was for.
//
// Errors: model.ErrBroaderScope and model.ErrOtherResource, which change nothing, model.ErrNotFound (unknown, or another client's or secret's), model.ErrRevoked,
// model.ErrExpired, model.ErrReused after the grace window (the family is
// revoked and the grant returned), and model.ErrForgejoGrantDead when the user
// has no Forgejo token set, which leaves the family as it is.
func (s *Store) Rotate(ctx context.Context, refresh string, by model.Client, next Pair, asked Asked) (model.Grant, Pair, error) {
	var g grantRow
	var out Pair
	var reused bool
	err := s.db.Update(ctx, func(tx *gorm.DB) error {
		r, err := s.refreshable(tx, refresh, by, &g)
		if err != nil {
			return err
		}
		if reused, err = s.spent(tx, r, g); err != nil {
			return err
		}
		if reused {
			return s.revoke(tx, g.ID)
		}
		if !asked.within(g.Resource) {
			return model.ErrOtherResource
		}
		if err := narrow(tx, &g, asked.Scope); err != nil {
			return err
		}
		if err := continueRestored(tx, r, g); err != nil {
			return err
		}
		if r.SuccessorHash == nil {
			out, err = s.succeed(tx, r, next)
			return err
		}
		out, err = s.repeat(tx, r, next)
		return err
	})
	if err == nil && reused {
		err = model.ErrReused
	}
	return g.Grant, out, err
}

// refreshable finds the row of a refresh token and refuses what cannot refresh. It locks
// that row and the grant, so that whatever happens to the family happens before or after.
func (s *Store) refreshable(tx *gorm.DB, refresh string, by model.Client, g *grantRow) (familyToken, error) {
	r, err := s.familyToken(tx, refresh)
	if err != nil {
		return r, err
	}
	// Equal registrations have one id, but not one secret.
	*g, err = takeLocked[grantRow](tx, "id = ? AND client_id = ? AND (secret_hash IS NULL OR secret_hash = ?)", r.GrantID, by.ID, by.SecretHash)
	if err != nil {
		return r, err
	}
	switch {
	case !g.RevokedAt.IsZero():
		return r, model.ErrRevoked
	case r.ExpiresAt <= ms(s.now()):
		return r, model.ErrExpired
	}
	var live int64
	if err := tx.Model(&forgejoTokensRow{}).Where("user_id = ? AND NOT withheld", g.UserID).Count(&live).Error; err != nil {
		return r, err
	}
	if live == 0 {
		return r, model.ErrForgejoGrantDead
	}
	return r, nil
}

// narrow has a grant only read from now on if a refresh asks for that. One that asks for
// writing is refused where the client itself has asked for less before. Where the user
// gave less, or the resource is one for reading, it is not: clients repeat what they once
// asked for, and are told what they have.
func narrow(tx *gorm.DB, g *grantRow, scope string) error {
	bound, _ := endpoint.Of(g.Resource)
	asked := strings.Fields(scope)
	read, write := slices.Contains(asked, model.ScopeRead), slices.Contains(asked, model.ScopeWrite)
	switch {
	case write && model.ReadOnly(g.Requested) && !bound.ReadOnly:
		return model.ErrBroaderScope
	case write || !read || model.ReadOnly(g.Scope):
		return nil
	}
	g.Scope, g.Requested, g.Narrowed = model.ScopeRead, model.ScopeRead, true
	return tx.Model(g).Select("scope", "requested", "narrowed").Updates(g).Error
}

// succeed makes next the successor of r.
func (s *Store) succeed(tx *gorm.DB, r familyToken, next Pair) (Pair, error) {
	if err := markUsed(tx, r.Hash, s.now()); err != nil {
		return Pair{}, err
	}
	next.Generation = r.Generation + 1
	if err := s.insertPair(tx, r.GrantID, &next); err != nil {
		return Pair{}, err
	}
	return next, s.sealSuccessor(tx, r.Hash, next)
}

func (s *Store) sealSuccessor(tx *gorm.DB, hash []byte, p Pair) error {
	plain, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return tx.Model(&refreshRow{}).Where("hash = ?", hash).Updates(map[string]any{
		"successor_hash":   model.Hash(p.Refresh),
		"successor_sealed": s.keys.Seal(plain, sealed.Successor(hash)),
	}).Error
}

// graceOver reports whether the successor of r has been in use for longer than
// Grace, or is gone.
func (s *Store) graceOver(tx *gorm.DB, r familyToken) (bool, error) {
	var succ []refreshRow
	if err := tx.Where("hash = ?", r.SuccessorHash).Limit(1).Find(&succ).Error; err != nil {
		return false, err
	}
	if len(succ) == 0 || r.SuccessorSealed == nil {
		return true, nil
	}
	used := succ[0].FirstUsedAt
	return used != 0 && s.now().Sub(fromMS(used)) > Grace, nil
}

// repeat returns the successor of r again. A successor whose access token has
// run out unused gets the one in next.
func (s *Store) repeat(tx *gorm.DB, r familyToken, next Pair) (Pair, error) {
	var p Pair
	if err := s.openJSON(r.SuccessorSealed, sealed.Successor(r.Hash), &p); err != nil {
		return Pair{}, fmt.Errorf("cannot read the successor of a refresh token: %w", err)
	}
	if p.AccessExpiresAt.After(s.now()) {
		return p, nil
	}
	p.Access, p.AccessExpiresAt = next.Access, next.AccessExpiresAt
	if err := insertAccess(tx, r.GrantID, r.SuccessorHash, p); err != nil {
		return Pair{}, err
	}
	return p, s.sealSuccessor(tx, r.Hash, p)
}

// Token kinds, for RevokeToken.
const (
	KindAccess  = "access_token"
	KindRefresh = "refresh_token"
)

// RevokeToken ends what a client gives back (RFC 7009): the whole grant for a
// refresh token, that one token for an access token. It returns the grant and
// the kind. model.ErrNotFound: unknown, or another client's.
func (s *Store) RevokeToken(ctx context.Context, token, clientID string) (g model.Grant, kind string, err error) {
	var row grantRow
	hash := model.Hash(token)
	err = s.db.Update(ctx, func(tx *gorm.DB) (err error) {
		kind = KindRefresh
		var r familyToken
		if r, err = s.familyToken(tx, token); err == nil {
			row, err = takeLocked[grantRow](tx, "id = ? AND client_id = ?", r.GrantID, clientID)
		}
		if err == nil {
			return s.revoke(tx, row.ID)
		}
		if !errors.Is(err, model.ErrNotFound) {
			return err
		}
		kind = KindAccess
		if row, err = take[grantRow](tx, "id = (SELECT grant_id FROM access_tokens WHERE hash = ?) AND client_id = ?", hash, clientID); err != nil {
			return err
		}
		return tx.Where("hash = ?", hash).Delete(&accessRow{}).Error
	})
	return row.Grant, kind, err
}
