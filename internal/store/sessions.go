package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store/database"
	"github.com/fjmcp/fjmcp-broker/internal/store/sealed"
)

// CreateSession stores a new session. User, client and grant must exist; the
// two names are read from them. model.ErrRevoked: the grant has ended.
func (s *Store) CreateSession(ctx context.Context, v model.Session) error {
	return s.db.Update(ctx, func(tx *gorm.DB) error {
		if err := stands(tx, v.GrantID); err != nil {
			return err
		}
		v.Kind = cmp.Or(v.Kind, model.SessionClient)
		return tx.Create(&v).Error
	})
}

// stands returns model.ErrRevoked for a grant that has ended. One that stands does so until
// the transaction has ended.
func stands(tx *gorm.DB, grantID string) error {
	_, err := takeLocked[grantRow](tx, "id = ? AND revoked_at = 0", grantID)
	if errors.Is(err, model.ErrNotFound) {
		return model.ErrRevoked
	}
	return err
}

// SharedSession returns the shared session of v's grant and mode, which is v
// where there was none. model.ErrRevoked: the grant has ended, so there is none.
func (s *Store) SharedSession(ctx context.Context, v model.Session) (model.Session, error) {
	v.Kind = model.SessionShared
	var id string
	err := s.db.Update(ctx, func(tx *gorm.DB) error {
		if err := stands(tx, v.GrantID); err != nil {
			return err
		}
		// What is there is written as it is, so that nobody ends it before it is read.
		there := clause.OnConflict{
			Columns:     []clause.Column{{Name: "grant_id"}, {Name: "read_only"}},
			TargetWhere: clause.Where{Exprs: []clause.Expression{clause.Expr{SQL: "kind = 'shared'"}}},
			DoUpdates:   clause.AssignmentColumns([]string{"kind"}),
		}
		if err := tx.Clauses(there).Create(&v).Error; err != nil {
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

func sessions(db *gorm.DB) *gorm.DB {
	return db.Table("sessions").
		Select("sessions.*, users.name AS user_name, users.subject AS subject, clients.name AS client_name").
		Joins("JOIN users ON users.id = sessions.user_id").
		Joins("JOIN clients ON clients.id = sessions.client_id")
}

// Session returns the session of that id, or model.ErrNotFound.
func (s *Store) Session(ctx context.Context, id string) (model.Session, error) {
	return take[model.Session](sessions(s.db.Reader(ctx)), "sessions.id = ?", id)
}

// setSession changes a session; model.ErrNotFound: it is gone.
func (s *Store) setSession(ctx context.Context, id, set string, values ...any) error {
	return one(s.db.Exec(ctx, "UPDATE sessions SET "+set+" WHERE id = ?", append(values, id)...))
}

// SetSessionUnit records the fresh unit a session runs in. The error is
// model.ErrNotFound when the session is gone.
func (s *Store) SetSessionUnit(ctx context.Context, id, unitID string) error {
	return s.setSession(ctx, id, "unit_id = ?, epoch = 0", unitID)
}

// SetSessionMode records whether a session may only read. A process that ends before
// ConfirmSessionUnit leaves the session without a unit: its unit may still carry out
// what was begun in the other mode.
func (s *Store) SetSessionMode(ctx context.Context, id string, readOnly bool) error {
	return s.setSession(ctx, id, "read_only = ?, unit_id = ''", readOnly)
}

// ConfirmSessionUnit records that the session's unit has its mode.
func (s *Store) ConfirmSessionUnit(ctx context.Context, id, unitID string) error {
	return s.setSession(ctx, id, "unit_id = ?", unitID)
}

// SetSessionLogLevel records the client's last logging/setLevel request.
func (s *Store) SetSessionLogLevel(ctx context.Context, id, request string) error {
	return s.setSession(ctx, id, "log_level = ?", request)
}

// SetSessionServer records what a shared session's backend says of itself, with the
// MCP protocol version it speaks.
func (s *Store) SetSessionServer(ctx context.Context, id, server, protocol string) error {
	return s.setSession(ctx, id, "server = ?, protocol = ?", server, protocol)
}

// TouchSession records when a session was last used.
func (s *Store) TouchSession(ctx context.Context, id string, at time.Time) error {
	return s.setSession(ctx, id, "last_used_at = ?", ms(at))
}

// DeleteSession ends a session for good. Deleting one that is gone is no error.
func (s *Store) DeleteSession(ctx context.Context, id string) error {
	return s.db.Exec(ctx, "DELETE FROM sessions WHERE id = ?", id).Error
}

// Sessions returns all sessions, the longest unused first, without what is only
// needed to run them: Initialize, LogLevel and Server.
func (s *Store) Sessions(ctx context.Context) ([]model.Session, error) {
	var list []model.Session
	err := sessions(s.db.Reader(ctx)).
		Select("sessions.id, unit_id, user_id, client_id, grant_id, protocol, sessions.created_at, last_used_at, read_only, sessions.kind, users.name AS user_name, users.subject AS subject, clients.name AS client_name").
		Order("sessions.last_used_at, sessions.id").Find(&list).Error
	return list, err
}

// SessionIDs returns the ids of all sessions, in no order.
func (s *Store) SessionIDs(ctx context.Context) ([]string, error) { return s.sessionIDs(ctx, "") }

// GrantSessions returns the ids of a grant's sessions.
func (s *Store) GrantSessions(ctx context.Context, grantID string) ([]string, error) {
	return s.sessionIDs(ctx, "grant_id = ?", grantID)
}

// UserSessions returns the ids of a user's sessions.
func (s *Store) UserSessions(ctx context.Context, userID string) ([]string, error) {
	return s.sessionIDs(ctx, "user_id = ?", userID)
}

// OldSessions returns the ids of the sessions that began at that moment or before.
func (s *Store) OldSessions(ctx context.Context, began time.Time) ([]string, error) {
	return s.sessionIDs(ctx, "created_at <= ?", ms(began))
}

func (s *Store) sessionIDs(ctx context.Context, where string, args ...any) (ids []string, err error) {
	query := s.db.Reader(ctx).Table("sessions")
	if where != "" {
		query = query.Where(where, args...)
	}
	err = query.Pluck("id", &ids).Error
	return ids, err
}

// SessionUnits returns the units that sessions run in, each with its session's id.
func (s *Store) SessionUnits(ctx context.Context) (map[string]string, error) {
	var rows []struct{ ID, UnitID string }
	if err := s.db.Reader(ctx).Table("sessions").Select("id, unit_id").Where("unit_id <> ''").Find(&rows).Error; err != nil {
		return nil, err
	}
	units := make(map[string]string, len(rows))
	for _, r := range rows {
		units[r.UnitID] = r.ID
	}
	return units, nil
}

// LastSession returns the session that a user and a client used last, of those that
// began after a moment and whose ids begin with prefix; model.ErrNotFound if there is
// none.
func (s *Store) LastSession(ctx context.Context, userID, clientID, prefix string, after time.Time) (model.Session, error) {
	var v model.Session
	err := sessions(s.db.Reader(ctx)).
		Where("sessions.user_id = ? AND sessions.client_id = ? AND sessions.created_at > ? AND substr(sessions.id, 1, ?) = ?",
			userID, clientID, ms(after), len(prefix), prefix).
		Order("sessions.last_used_at DESC, sessions.id DESC").Take(&v).Error
	return v, database.Error(err)
}

// Resumed is a session whose unit outlived the process that served it.
type Resumed struct {
	Session model.Session `gorm:"embedded"`
	// Epoch is higher than that of any process that spoke to the unit before.
	Epoch uint64
	// State is what the process before wrote down when it ended; nil when it could
	// not. It is given out once.
	State []byte `gorm:"column:sealed"`
}

type sessionStateRow struct {
	SessionID string `gorm:"primaryKey"`
	UnitID    string
	Sealed    []byte
}

func (sessionStateRow) TableName() string { return "session_states" }

// SessionState is what the next process needs to continue with a session in its unit.
type SessionState struct {
	SessionID string
	UnitID    string
	State     []byte    // kept sealed
	Used      time.Time // when the session was last used
}

// SaveSessionStates keeps states, all or none. Those of sessions that have ended or are
// in another unit are left out.
func (s *Store) SaveSessionStates(ctx context.Context, states []SessionState) error {
	return s.db.Update(ctx, func(tx *gorm.DB) error {
		for _, st := range states {
			err := one(tx.Exec("UPDATE sessions SET last_used_at = ? WHERE id = ? AND unit_id = ?", ms(st.Used), st.SessionID, st.UnitID))
			if errors.Is(err, model.ErrNotFound) {
				continue
			}
			if err == nil {
				row := sessionStateRow{SessionID: st.SessionID, UnitID: st.UnitID, Sealed: s.keys.Seal(st.State, sealed.SessionState(st.SessionID))}
				err = tx.Save(&row).Error
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// ResumeSessions gives the caller, alone, the sessions of those units, each under a
// new epoch. Units that no session is in are left out.
func (s *Store) ResumeSessions(ctx context.Context, unitIDs []string) ([]Resumed, error) {
	var list []Resumed
	err := s.db.Update(ctx, func(tx *gorm.DB) error {
		list = nil
		if err := tx.Exec("UPDATE sessions SET epoch = epoch + 1 WHERE unit_id IN ?", unitIDs).Error; err != nil {
			return err
		}
		err := sessions(tx).
			Select("sessions.*, users.name AS user_name, users.subject AS subject, clients.name AS client_name, session_states.sealed AS sealed").
			Joins("LEFT JOIN session_states ON session_states.session_id = sessions.id AND session_states.unit_id = sessions.unit_id").
			Where("sessions.unit_id IN ?", unitIDs).Find(&list).Error
		if err != nil {
			return err
		}
		return tx.Exec("DELETE FROM session_states WHERE session_id IN (SELECT id FROM sessions WHERE unit_id IN ?)", unitIDs).Error
	})
	if err != nil {
		return nil, fmt.Errorf("cannot resume sessions: %w", err)
	}
	for i, r := range list {
		// What cannot be read is as good as not written: the session continues without.
		list[i].State, _ = s.keys.Open(r.State, sealed.SessionState(r.Session.ID))
	}
	return list, nil
}

// ClearSessionUnit records that no unit runs for a session any more, if unitID was
// the last. Another, or a session that is gone, is no error.
func (s *Store) ClearSessionUnit(ctx context.Context, id, unitID string) error {
	return s.db.Exec(ctx, "UPDATE sessions SET unit_id = '' WHERE id = ? AND unit_id = ?", id, unitID).Error
}
