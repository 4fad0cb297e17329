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

type clientRow struct {
	model.Client `gorm:"embedded"`
	DeletedAt    int64
}

func (clientRow) TableName() string { return "clients" }

func newClientRow(c model.Client) *clientRow {
	c.Kind = cmp.Or(c.Kind, model.ClientRegistered)
	c.RedirectURIs, c.GrantTypes = append([]string{}, c.RedirectURIs...), append([]string{}, c.GrantTypes...) // never NULL
	return &clientRow{Client: c}
}

// CreateClient stores a new client.
func (s *Store) CreateClient(ctx context.Context, c model.Client) error {
	return s.write.WithContext(ctx).Create(newClientRow(c)).Error
}

// ErrFull says that there is no room for another registration.
var ErrFull = errors.New("too many registrations that no user has agreed to")

// keepFresh is how long a registration stands for its first login, however many
// there are.
const keepFresh = time.Hour

// RegisterClient stores a client that registered itself. There are at most max
// of those that no user has agreed to: the oldest make room if they had an hour
// for it and no login is on its way, else the error is ErrFull.
func (s *Store) RegisterClient(ctx context.Context, c model.Client, max int) error {
	return s.update(ctx, func(tx *gorm.DB) error {
		var n int64
		if err := tx.Raw("SELECT COUNT(*) FROM clients WHERE " + ungranted).Row().Scan(&n); err != nil {
			return err
		}
		if n >= int64(max) {
			res := tx.Exec("DELETE FROM clients WHERE id IN (SELECT id FROM clients WHERE created_at < ? AND NOT EXISTS (SELECT 1 FROM logins WHERE client_id = clients.id) AND "+ungranted+" ORDER BY created_at LIMIT ?)",
				ms(s.now().Add(-keepFresh)), n-int64(max)+1)
			switch {
			case res.Error != nil:
				return res.Error
			case n-res.RowsAffected >= int64(max):
				return ErrFull
			}
		}
		return tx.Create(newClientRow(c)).Error
	})
}

// ungranted matches registrations that no grant was ever made for.
const ungranted = "kind = 'registered' AND NOT EXISTS (SELECT 1 FROM grants WHERE client_id = clients.id) AND NOT EXISTS (SELECT 1 FROM sessions WHERE client_id = clients.id)"

// KeepClient stores a client that is described elsewhere, over what was stored
// of it before. One that was deleted is there again.
func (s *Store) KeepClient(ctx context.Context, c model.Client) error {
	return s.write.WithContext(ctx).Clauses(clause.OnConflict{UpdateAll: true}).Create(newClientRow(c)).Error
}

// Client returns the client of that id, or model.ErrNotFound.
func (s *Store) Client(ctx context.Context, id string) (model.Client, error) {
	var r clientRow
	if err := s.reader(ctx).Where("id = ? AND deleted_at = 0", id).Take(&r).Error; err != nil {
		return model.Client{}, wrap(err)
	}
	return r.Client, nil
}

// ClientUse is a client and how much it is used.
type ClientUse struct {
	model.Client `gorm:"embedded"`
	Grants       int // that stand
}

// Clients returns all clients, the oldest first.
func (s *Store) Clients(ctx context.Context) ([]ClientUse, error) {
	var all []ClientUse
	err := s.reader(ctx).Table("clients").
		Select("clients.*, (SELECT COUNT(*) FROM grants WHERE client_id = clients.id AND redeemed_at > 0 AND revoked_at = 0) AS grants").
		Where("deleted_at = 0").Order("created_at, id").Find(&all).Error
	return all, err
}

// DeleteClient ends a client and all its grants, and returns the ids of those
// that stood. model.ErrNotFound: there is no such client.
func (s *Store) DeleteClient(ctx context.Context, id string) (grants []string, err error) {
	err = s.update(ctx, func(tx *gorm.DB) error {
		mark := tx.Model(&clientRow{}).Where("id = ? AND deleted_at = 0", id).Update("deleted_at", ms(s.now()))
		if err := one(mark); err != nil {
			return err
		}
		if err := tx.Model(&grantRow{}).Where("client_id = ? AND revoked_at = 0", id).Pluck("id", &grants).Error; err != nil {
			return err
		}
		for _, grant := range grants {
			if err := s.revoke(tx, grant); err != nil {
				return err
			}
		}
		return nil
	})
	return grants, err
}

type assertionRow struct {
	Hash      []byte `gorm:"primaryKey"`
	ExpiresAt int64
}

func (assertionRow) TableName() string { return "assertions" }

// UseAssertion records that the assertion behind key was used, until it
// expires, and reports whether this was the first time (RFC 7523 §3, jti).
func (s *Store) UseAssertion(ctx context.Context, key []byte, expires time.Time) (bool, error) {
	res := s.write.WithContext(ctx).Clauses(clause.OnConflict{DoNothing: true}).Create(&assertionRow{Hash: key, ExpiresAt: ms(expires)})
	return res.RowsAffected == 1, res.Error
}
