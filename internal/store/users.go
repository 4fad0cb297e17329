package store

import (
	"context"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// UpsertUser returns the user that forge knows as subject, makes it when new,
// and records its current name.
func (s *Store) UpsertUser(ctx context.Context, forge, subject, name string) (model.User, error) {
	var u model.User
	err := s.update(ctx, func(tx *gorm.DB) error {
		fresh := model.User{ID: model.NewID(), Forge: forge, Subject: subject, Name: name}
		err := tx.Clauses(clause.OnConflict{
			Columns:   []clause.Column{{Name: "forge"}, {Name: "subject"}},
			DoUpdates: clause.AssignmentColumns([]string{"name"}),
		}).Create(&fresh).Error
		if err != nil {
			return err
		}
		return tx.Where("forge = ? AND subject = ?", forge, subject).Take(&u).Error
	})
	return u, err
}

// User returns the user of that id, or model.ErrNotFound.
func (s *Store) User(ctx context.Context, id string) (model.User, error) {
	var u model.User
	err := s.reader(ctx).Where("id = ?", id).Take(&u).Error
	return u, wrap(err)
}

// UserName returns the user's login name for the journal, or the id where there is none.
func (s *Store) UserName(ctx context.Context, id string) string {
	user, err := s.User(ctx, id)
	if err != nil {
		return id
	}
	return user.Name
}
