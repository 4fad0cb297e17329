package store

import (
	"cmp"
	"context"
	"errors"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// CreateSession stores a new session. User, client and grant must exist; the
// two names are read from them. model.ErrRevoked: the grant has ended.
func (s *Store) CreateSession(ctx context.Context, v model.Session) error {
	return s.update(ctx, func(tx *gorm.DB) error {
		if err := stands(tx, v.GrantID); err != nil {
			return err
		}
		v.Kind = cmp.Or(v.Kind, model.SessionClient)
		return tx.Create(&v).Error
	})
}

// stands returns model.ErrRevoked for a grant that has ended.
func stands(tx *gorm.DB, grantID string) error {
	err := tx.Where("id = ? AND revoked_at = 0", grantID).Take(&grantRow{}).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return model.ErrRevoked
	}
	return err
}

// SharedSession returns the shared session of v's grant and mode, which is v
// where there was none. model.ErrRevoked: the grant has ended, so there is none.
func (s *Store) SharedSession(ctx context.Context, v model.Session) (model.Session, error) {
	v.Kind = model.SessionShared
	var id string
	err := s.update(ctx, func(tx *gorm.DB) error {
		if err := stands(tx, v.GrantID); err != nil {
			return err
		}
		if err := tx.Clauses(clause.OnConflict{DoNothing: true}).Create(&v).Error; err != nil {
			return err
		}
		return tx.Table("sessions").Select("id").
			Where("grant_id = ? AND read_only = ? AND kind = ?", v.GrantID, v.ReadOnly, v.Kind).Take(&id).Error
	})
	if err != nil {
		return model.Session{}, err
	}
	return s.Session(ctx, id)
}

func (s *Store) sessions(ctx context.Context) *gorm.DB {
	return s.reader(ctx).Table("sessions").
		Select("sessions.*, users.name AS user_name, clients.name AS client_name").
		Joins("JOIN users ON users.id = sessions.user_id").
		Joins("JOIN clients ON clients.id = sessions.client_id")
}

// Session returns the session of that id, or model.ErrNotFound.
func (s *Store) Session(ctx context.Context, id string) (model.Session, error) {
	var v model.Session
	err := s.sessions(ctx).Where("sessions.id = ?", id).Take(&v).Error
	return v, wrap(err)
}

func (s *Store) setSession(ctx context.Context, id, column string, value any) error {
	return one(s.write.WithContext(ctx).Table("sessions").Where("id = ?", id).Update(column, value))
}

// SetSessionUnit records the fresh unit a session runs in. The error is
// model.ErrNotFound when the session is gone.
func (s *Store) SetSessionUnit(ctx context.Context, id, unitID string) error {
	return one(s.write.WithContext(ctx).Exec("UPDATE sessions SET unit_id = ?, epoch = 0 WHERE id = ?", unitID, id))
}

// RaiseSession records that a session may write. A process that ends before
// ConfirmSessionUnit leaves the session without a unit: its unit may still carry out
// what a narrower token began.
func (s *Store) RaiseSession(ctx context.Context, id string) error {
	return one(s.write.WithContext(ctx).Exec("UPDATE sessions SET read_only = 0, unit_id = '' WHERE id = ?", id))
}

// ConfirmSessionUnit records that the session's unit has its mode.
func (s *Store) ConfirmSessionUnit(ctx context.Context, id, unitID string) error {
	return s.setSession(ctx, id, "unit_id", unitID)
}

// SetSessionLogLevel records the client's last logging/setLevel request.
func (s *Store) SetSessionLogLevel(ctx context.Context, id, request string) error {
	return s.setSession(ctx, id, "log_level", request)
}

// SetSessionServer records what a shared session's backend says of itself, with the
// MCP protocol version it speaks.
func (s *Store) SetSessionServer(ctx context.Context, id, server, protocol string) error {
	return one(s.write.WithContext(ctx).Exec("UPDATE sessions SET server = ?, protocol = ? WHERE id = ?", server, protocol, id))
}

// TouchSession records when a session was last used.
func (s *Store) TouchSession(ctx context.Context, id string, at time.Time) error {
	return s.setSession(ctx, id, "last_used_at", ms(at))
}

// DeleteSession ends a session for good. Deleting one that is gone is no error.
func (s *Store) DeleteSession(ctx context.Context, id string) error {
	return s.write.WithContext(ctx).Where("id = ?", id).Delete(&model.Session{}).Error
}
