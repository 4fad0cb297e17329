package store

import (
	"context"
	"encoding/json"
	"fmt"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

type forgejoTokensRow struct {
	UserID    string `gorm:"primaryKey"`
	Sealed    []byte
	ExpiresAt int64
	Scope     string
	UpdatedAt int64 `gorm:"autoUpdateTime:false"`
	Withheld  bool
}

func (forgejoTokensRow) TableName() string { return "forgejo_tokens" }

// tokenPair is what is sealed in forgejo_tokens.
type tokenPair struct {
	Access  string `json:"a"`
	Refresh string `json:"r"`
}

func forgejoAD(userID string) []byte { return []byte("forgejo_tokens/" + userID) }

// ForgejoTokens returns the user's token set. model.ErrNotFound says that
// there is none: never logged in, Forgejo refused it for good, or it is withheld.
func (s *Store) ForgejoTokens(ctx context.Context, userID string) (model.ForgejoTokens, error) {
	var r forgejoTokensRow
	if err := s.reader(ctx).Where("user_id = ? AND withheld = 0", userID).Take(&r).Error; err != nil {
		return model.ForgejoTokens{}, wrap(err)
	}
	p, err := s.openPair(r.Sealed, forgejoAD(userID))
	if err != nil {
		return model.ForgejoTokens{}, fmt.Errorf("cannot read the user's forgejo tokens: %w", err)
	}
	return model.ForgejoTokens{AccessToken: p.Access, RefreshToken: p.Refresh, ExpiresAt: fromMS(r.ExpiresAt), Scope: r.Scope}, nil
}

func (s *Store) openPair(sealed, ad []byte) (p tokenPair, err error) {
	plain, err := s.keys.Open(sealed, ad)
	if err != nil {
		return tokenPair{}, err
	}
	return p, json.Unmarshal(plain, &p)
}

// PutForgejoTokens replaces the user's token set.
func (s *Store) PutForgejoTokens(ctx context.Context, userID string, t model.ForgejoTokens) error {
	plain, err := json.Marshal(tokenPair{Access: t.AccessToken, Refresh: t.RefreshToken})
	if err != nil {
		return err
	}
	return s.write.WithContext(ctx).Clauses(clause.OnConflict{UpdateAll: true}).Create(&forgejoTokensRow{
		UserID: userID, Sealed: s.keys.Seal(plain, forgejoAD(userID)),
		ExpiresAt: ms(t.ExpiresAt), Scope: t.Scope, UpdatedAt: ms(s.now()),
	}).Error
}

func deleteForgejoTokens(tx *gorm.DB, userID string) error {
	return tx.Where("user_id = ?", userID).Delete(&forgejoTokensRow{}).Error
}
