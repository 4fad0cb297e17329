package store

import (
	"context"
	"fmt"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// Membership returns what was last put for the user, or model.ErrNotFound.
func (s *Store) Membership(ctx context.Context, userID string) (model.Membership, error) {
	return take[model.Membership](s.db.Reader(ctx), "user_id = ?", userID)
}

// Memberships returns what is known of all users, in no order.
func (s *Store) Memberships(ctx context.Context) (all []model.Membership, err error) {
	if err = s.db.Reader(ctx).Find(&all).Error; err != nil {
		return nil, fmt.Errorf("cannot read what users are members of: %w", err)
	}
	return all, nil
}

// UserNamed returns the user whom a forge knew by that name, in any case, when it last told,
// or model.ErrNotFound.
func (s *Store) UserNamed(ctx context.Context, forge, name string) (model.User, error) {
	return take[model.User](s.db.Reader(ctx), "forge = ? AND lower(name) = lower(?)", forge, name)
}

// UserNumbered returns the user of a forge by its number there, or model.ErrNotFound.
func (s *Store) UserNumbered(ctx context.Context, forge, subject string) (model.User, error) {
	return take[model.User](s.db.Reader(ctx), "forge = ? AND subject = ?", forge, subject)
}

// PutMembership replaces what is known of a user, unless it is of an earlier question.
func (s *Store) PutMembership(ctx context.Context, m model.Membership) error {
	err := s.db.Update(ctx, func(db *gorm.DB) error {
		return db.Clauses(clause.OnConflict{UpdateAll: true, Where: clause.Where{Exprs: []clause.Expression{
			gorm.Expr("memberships.asked_at <= excluded.asked_at"),
		}}}).Create(&m).Error
	})
	if err != nil {
		return fmt.Errorf("cannot store what a user is a member of: %w", err)
	}
	return nil
}

// PolicyName is a name of the policy and whom it means.
type PolicyName struct {
	Kind string `gorm:"primaryKey"` // user or organization
	Name string `gorm:"primaryKey"` // lower case: the forge tells names apart without it
	ID   int64  // the forge's
}

// PolicyNames returns all, in no order.
func (s *Store) PolicyNames(ctx context.Context) (all []PolicyName, err error) {
	if err = s.db.Reader(ctx).Find(&all).Error; err != nil {
		return nil, fmt.Errorf("cannot read whom the names of the policy mean: %w", err)
	}
	return all, nil
}

// policyNamesAtOnce bounds the variables of one statement.
const policyNamesAtOnce = 1000

// SetPolicyNames replaces all: names that are not in the list are forgotten.
func (s *Store) SetPolicyNames(ctx context.Context, all []PolicyName) error {
	err := s.db.Update(ctx, func(tx *gorm.DB) error {
		if err := tx.Exec("DELETE FROM policy_names").Error; err != nil || len(all) == 0 {
			return err
		}
		return tx.CreateInBatches(all, policyNamesAtOnce).Error
	})
	if err != nil {
		return fmt.Errorf("cannot store whom the names of the policy mean: %w", err)
	}
	return nil
}
