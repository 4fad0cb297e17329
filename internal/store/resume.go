package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// Resumed is a session whose unit outlived the process that served it.
type Resumed struct {
	Session model.Session
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
	return s.update(ctx, func(tx *gorm.DB) error {
		for _, st := range states {
			err := one(tx.Exec("UPDATE sessions SET last_used_at = ? WHERE id = ? AND unit_id = ?", ms(st.Used), st.SessionID, st.UnitID))
			if errors.Is(err, model.ErrNotFound) {
				continue
			}
			if err == nil {
				row := sessionStateRow{SessionID: st.SessionID, UnitID: st.UnitID, Sealed: s.keys.Seal(st.State, sessionStateAD(st.SessionID))}
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
	var rows []struct {
		Session model.Session `gorm:"embedded"`
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
		list[i] = Resumed{Session: r.Session, Epoch: r.Epoch}
		if r.Sealed == nil {
			continue
		}
		// What cannot be read is as good as not written: the session continues without.
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
