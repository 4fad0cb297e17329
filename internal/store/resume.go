package store

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/fjmcp/fjmcp-broker/internal/broker"
)

// Resumed is a session whose unit outlived the process that served it.
type Resumed struct {
	Session broker.Session
	// Epoch is higher than that of any process that spoke to the unit before.
	Epoch uint64
	// State is what the process before wrote down when it ended; nil when it could
	// not. It is given out once.
	State []byte
}

type sessionStateRow struct {
	SessionID string `gorm:"primaryKey"`
	UnitID    string
	Sealed    []byte
}

func (sessionStateRow) TableName() string { return "session_states" }

func sessionStateAD(sessionID string) []byte { return []byte("session_states/" + sessionID) }

// SaveSessionState keeps, sealed, what the next process needs to go on with a
// session in its unit, and when the session was last used. The error is
// broker.ErrNotFound when the session has ended or is in another unit.
func (s *Store) SaveSessionState(ctx context.Context, id, unitID string, state []byte, used time.Time) error {
	return s.update(ctx, func(tx *gorm.DB) error {
		err := one(tx.Exec("UPDATE sessions SET last_used_at = ? WHERE id = ? AND unit_id = ?", ms(used), id, unitID))
		if err != nil {
			return err
		}
		return tx.Save(&sessionStateRow{SessionID: id, UnitID: unitID, Sealed: s.keys.Seal(state, sessionStateAD(id))}).Error
	})
}

// ResumeSessions gives the caller, alone, the sessions of those units, each under a
// new epoch. Units that no session is in are left out.
func (s *Store) ResumeSessions(ctx context.Context, unitIDs []string) ([]Resumed, error) {
	var rows []struct {
		Session namedSession `gorm:"embedded"`
		Epoch   uint64
		Sealed  []byte
	}
	err := s.update(ctx, func(tx *gorm.DB) error {
		rows = nil
		if err := tx.Exec("UPDATE sessions SET epoch = epoch + 1 WHERE unit_id IN ?", unitIDs).Error; err != nil {
			return err
		}
		err := s.within(tx).sessions(ctx).
			Select("sessions.*, users.name AS user_name, clients.name AS client_name, session_states.sealed AS sealed").
			Joins("LEFT JOIN session_states ON session_states.session_id = sessions.id AND session_states.unit_id = sessions.unit_id").
			Where("sessions.unit_id IN ?", unitIDs).Find(&rows).Error
		if err != nil {
			return err
		}
		return tx.Exec("DELETE FROM session_states WHERE session_id IN (SELECT id FROM sessions WHERE unit_id IN ?)", unitIDs).Error
	})
	if err != nil {
		return nil, fmt.Errorf("cannot resume sessions: %w", err)
	}
	list := make([]Resumed, len(rows))
	for i, r := range rows {
		list[i] = Resumed{Session: r.Session.session(), Epoch: r.Epoch}
		if r.Sealed == nil {
			continue
		}
		// What cannot be read is as good as not written: the session goes on without.
		if state, err := s.keys.Open(r.Sealed, sessionStateAD(list[i].Session.ID)); err == nil {
			list[i].State = state
		}
	}
	return list, nil
}

// ClearSessionUnit records that no unit runs for a session any more, if unitID was
// the last. Another, or a session that is gone, is no error.
func (s *Store) ClearSessionUnit(ctx context.Context, id, unitID string) error {
	return s.update(ctx, func(tx *gorm.DB) error {
		return tx.Exec("UPDATE sessions SET unit_id = '' WHERE id = ? AND unit_id = ?", id, unitID).Error
	})
}
