package store

import (
	"context"
	"errors"

	"gorm.io/gorm"

	"github.com/fjmcp/fjmcp-broker/internal/broker"
)

// within is s confined to one transaction.
func (s *Store) within(tx *gorm.DB) *Store {
	return &Store{write: tx, read: tx, keys: s.keys, now: s.now}
}

// ReplaceForgejoTokens writes next unless the user has a set that it must not
// replace: may is asked with that set, inside the transaction, so it must not
// use the store. A user without a set gets next unasked. The result is what is
// stored afterwards.
func (s *Store) ReplaceForgejoTokens(ctx context.Context, userID string, next broker.ForgejoTokens, may func(current broker.ForgejoTokens) bool) (broker.ForgejoTokens, error) {
	stored := next
	err := s.update(ctx, func(tx *gorm.DB) error {
		current, err := s.within(tx).ForgejoTokens(ctx, userID)
		switch {
		case err == nil && !may(current):
			stored = current
			return nil
		case err != nil && !errors.Is(err, broker.ErrNotFound):
			return err
		}
		return s.within(tx).PutForgejoTokens(ctx, userID, next)
	})
	if err != nil {
		return broker.ForgejoTokens{}, err
	}
	return stored, nil
}

// DropForgejoTokens deletes the user's set if its refresh token still is
// refused, which Forgejo would not take, and reports whether it was. A set that
// a login has put there meanwhile stays.
func (s *Store) DropForgejoTokens(ctx context.Context, userID, refused string) (bool, error) {
	dropped := false
	err := s.update(ctx, func(tx *gorm.DB) error {
		current, err := s.within(tx).ForgejoTokens(ctx, userID)
		if errors.Is(err, broker.ErrNotFound) || err == nil && current.RefreshToken != refused {
			return nil
		}
		if err != nil {
			return err
		}
		dropped = true
		return s.within(tx).DeleteForgejoTokens(ctx, userID)
	})
	return dropped && err == nil, err
}
