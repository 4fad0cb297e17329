package store

import (
	"context"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// Sessions returns all sessions, the longest unused first, without what is only
// needed to run them: Initialize, LogLevel and Server.
func (s *Store) Sessions(ctx context.Context) ([]model.Session, error) {
	var list []model.Session
	err := s.sessions(ctx).
		Select("sessions.id, unit_id, user_id, client_id, grant_id, protocol, sessions.created_at, last_used_at, read_only, sessions.kind, users.name AS user_name, clients.name AS client_name").
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
	query := s.reader(ctx).Table("sessions")
	if where != "" {
		query = query.Where(where, args...)
	}
	return ids, query.Pluck("id", &ids).Error
}

// SessionUnits returns the units that sessions run in, each with its session's id.
func (s *Store) SessionUnits(ctx context.Context) (map[string]string, error) {
	var rows []struct{ ID, UnitID string }
	if err := s.reader(ctx).Table("sessions").Select("id, unit_id").Where("unit_id <> ''").Find(&rows).Error; err != nil {
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
	err := s.sessions(ctx).
		Where("sessions.user_id = ? AND sessions.client_id = ? AND sessions.created_at > ? AND substr(sessions.id, 1, ?) = ?",
			userID, clientID, ms(after), len(prefix), prefix).
		Order("sessions.last_used_at DESC, sessions.id DESC").Take(&v).Error
	return v, wrap(err)
}
