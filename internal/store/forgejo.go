package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store/database"
	"github.com/fjmcp/fjmcp-broker/internal/store/sealed"
)

// lockUser has one transaction at a time change what a user has: a row that there is not
// yet cannot be locked. A user who is not known is no error.
func lockUser(tx *gorm.DB, userID string) error {
	var found []string
	return database.Locked(tx).Table("users").Where("id = ?", userID).Pluck("id", &found).Error
}

// ReplaceForgejoTokens writes next unless the user has a set that it must not
// replace: may is asked with that set, inside the transaction, so it must not
// use the store. A user without a set gets next unasked. The result is what is
// stored afterwards. model.ErrBlocked: a blocked user gets none.
func (s *Store) ReplaceForgejoTokens(ctx context.Context, userID string, next model.ForgejoTokens, may func(current model.ForgejoTokens) bool) (model.ForgejoTokens, error) {
	stored := next
	err := s.db.Update(ctx, func(tx *gorm.DB) (err error) {
		stored, err = s.replaceForgejoTokens(tx, userID, next, may)
		return err
	})
	return stored, err
}

// RenewForgejoTokens is ReplaceForgejoTokens for a set that came of a refresh. A user whose
// set was deleted meanwhile gets none: model.ErrNotFound.
func (s *Store) RenewForgejoTokens(ctx context.Context, userID string, next model.ForgejoTokens, may func(current model.ForgejoTokens) bool) (model.ForgejoTokens, error) {
	stored := next
	err := s.db.Update(ctx, func(tx *gorm.DB) error {
		err := lockUser(tx, userID)
		if err == nil {
			_, err = takeLocked[forgejoTokensRow](tx, "user_id = ?", userID)
		}
		if err == nil {
			stored, err = s.replaceForgejoTokens(tx, userID, next, may)
		}
		return err
	})
	return stored, err
}

func (s *Store) replaceForgejoTokens(tx *gorm.DB, userID string, next model.ForgejoTokens, may func(current model.ForgejoTokens) bool) (model.ForgejoTokens, error) {
	if err := lockUser(tx, userID); err != nil {
		return model.ForgejoTokens{}, err
	}
	current, err := s.forgejoTokens(database.Locked(tx), userID)
	switch {
	case err == nil && !may(current):
		return current, nil
	case err != nil && !errors.Is(err, model.ErrNotFound):
		return model.ForgejoTokens{}, err
	}
	return next, s.putForgejoTokens(tx, userID, next)
}

// DropForgejoTokens deletes the user's set if its refresh token still is
// refused, which Forgejo would not take, and reports whether it was. A set that
// a login has put there meanwhile stays.
func (s *Store) DropForgejoTokens(ctx context.Context, userID, refused string) (bool, error) {
	dropped := false
	err := s.db.Update(ctx, func(tx *gorm.DB) error {
		if err := lockUser(tx, userID); err != nil {
			return err
		}
		current, err := s.forgejoTokens(database.Locked(tx), userID)
		if errors.Is(err, model.ErrNotFound) || err == nil && current.RefreshToken != refused {
			return nil
		}
		if err != nil {
			return err
		}
		dropped = true
		return deleteForgejoTokens(tx, userID)
	})
	return dropped && err == nil, err
}

// ScopeUse is a scope of Forgejo and how many users' token sets have it.
type ScopeUse struct {
	Scope string // as introspection told; empty where it could not be asked
	Users int
}

// WithholdForgejoTokens has every token set whose scope is not allowed treated as
// absent, and every other as present, and returns the scopes in use. Nothing is
// deleted: with another answer of allowed the sets are there again.
func (s *Store) WithholdForgejoTokens(ctx context.Context, allowed func(scope string) bool) ([]ScopeUse, error) {
	var uses []ScopeUse
	err := s.db.Update(ctx, func(tx *gorm.DB) error {
		uses = nil
		if err := tx.Raw("SELECT scope, COUNT(*) AS users FROM forgejo_tokens GROUP BY scope ORDER BY scope").Scan(&uses).Error; err != nil {
			return err
		}
		for _, use := range uses {
			err := tx.Exec("UPDATE forgejo_tokens SET withheld = ? WHERE scope = ?", !allowed(use.Scope), use.Scope).Error
			if err != nil {
				return err
			}
		}
		return nil
	})
	return uses, err
}

// Granted is what users have granted at the forge, as far as it is stored.
type Granted struct {
	Lost   int        // users with a login that stands and without a token set, which the forge has refused
	Scopes []ScopeUse // of the others, in order
}

// Granted looks at all users.
func (s *Store) Granted(ctx context.Context) (g Granted, err error) {
	err = s.db.Reader(ctx).Raw("SELECT scope, COUNT(*) AS users FROM forgejo_tokens GROUP BY scope ORDER BY scope").Scan(&g.Scopes).Error
	if err == nil {
		err = s.db.Reader(ctx).Raw(`SELECT COUNT(DISTINCT g.user_id) FROM grants g WHERE g.redeemed_at > 0 AND `+standing+`
			AND NOT EXISTS (SELECT 1 FROM forgejo_tokens f WHERE f.user_id = g.user_id)`, sql.Named("now", ms(s.now()))).Scan(&g.Lost).Error
	}
	if err != nil {
		return Granted{}, fmt.Errorf("cannot look at what users have granted: %w", err)
	}
	return g, nil
}

type forgejoTokensRow struct {
	UserID              string `gorm:"primaryKey"`
	model.ForgejoTokens `gorm:"embedded"`
	Sealed              []byte
	UpdatedAt           int64 `gorm:"autoUpdateTime:false"`
	Withheld            bool
}

func (forgejoTokensRow) TableName() string { return "forgejo_tokens" }

// tokenPair is what is sealed in forgejo_tokens.
type tokenPair struct {
	Access  string `json:"a"`
	Refresh string `json:"r"`
}

// ForgejoTokens returns the user's token set. model.ErrNotFound says that
// there is none: never logged in, Forgejo refused it for good, or it is withheld.
func (s *Store) ForgejoTokens(ctx context.Context, userID string) (model.ForgejoTokens, error) {
	return s.forgejoTokens(s.db.Reader(ctx), userID)
}

func (s *Store) forgejoTokens(tx *gorm.DB, userID string) (model.ForgejoTokens, error) {
	r, err := take[forgejoTokensRow](tx, "user_id = ? AND NOT withheld", userID)
	if err != nil {
		return model.ForgejoTokens{}, err
	}
	var p tokenPair
	if err := s.openJSON(r.Sealed, sealed.ForgejoTokens(userID), &p); err != nil {
		return model.ForgejoTokens{}, fmt.Errorf("cannot read the user's forgejo tokens: %w", err)
	}
	r.AccessToken, r.RefreshToken = p.Access, p.Refresh
	return r.ForgejoTokens, nil
}

// PutForgejoTokens replaces the user's token set.
func (s *Store) PutForgejoTokens(ctx context.Context, userID string, t model.ForgejoTokens) error {
	return s.db.Update(ctx, func(tx *gorm.DB) error {
		if err := lockUser(tx, userID); err != nil {
			return err
		}
		return s.putForgejoTokens(tx, userID, t)
	})
}

func (s *Store) putForgejoTokens(tx *gorm.DB, userID string, t model.ForgejoTokens) error {
	plain, err := json.Marshal(tokenPair{Access: t.AccessToken, Refresh: t.RefreshToken})
	if err != nil {
		return err
	}
	row := &forgejoTokensRow{UserID: userID, ForgejoTokens: t, Sealed: s.keys.Seal(plain, sealed.ForgejoTokens(userID)), UpdatedAt: ms(s.now())}
	return tx.Clauses(clause.OnConflict{UpdateAll: true}).Create(row).Error
}

func deleteForgejoTokens(tx *gorm.DB, userID string) error {
	return tx.Where("user_id = ?", userID).Delete(&forgejoTokensRow{}).Error
}
