package store

import (
	"cmp"
	"context"
	"errors"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/store/clientid"
)

type clientRow struct {
	model.Client `gorm:"embedded"`
	DeletedAt    int64
}

func (clientRow) TableName() string { return "clients" }

// newClientRow names the client as all are to show it, also where the name is read by SQL.
func newClientRow(c model.Client) *clientRow {
	c.Name = oauth.ClientName(c)
	c.Kind = cmp.Or(c.Kind, model.ClientRegistered)
	c.RedirectURIs = append([]string{}, c.RedirectURIs...) // never NULL
	return &clientRow{Client: c}
}

// CreateClient stores a new client.
func (s *Store) CreateClient(ctx context.Context, c model.Client) error {
	return s.db.Update(ctx, func(db *gorm.DB) error { return db.Create(newClientRow(c)).Error })
}

// ClientID is what a client that registers itself is known by. Nothing is stored of it
// before a user has logged in for it. What registers the same as a client that was
// removed is another client. The error may be clientid.ErrTooLarge.
func (s *Store) ClientID(ctx context.Context, c model.Client) (string, error) {
	for turn := 0; ; turn++ {
		id, err := clientid.Seal(s.keys, c, turn)
		if err != nil {
			return "", err
		}
		if _, err = s.Client(ctx, id); !errors.Is(err, model.ErrNotFound) {
			return id, err
		}
	}
}

// ClientSecret returns a new secret for the client of an id that ClientID has returned.
// It is stored nowhere; once it has redeemed a code, its hash is.
func (s *Store) ClientSecret(id string) string { return clientid.NewSecret(s.keys, id) }

// SecretHash returns the SHA-256 of a secret if it is the client's. One that registered
// itself may have several. The error is model.ErrNotFound if it is not.
func (s *Store) SecretHash(ctx context.Context, c model.Client, secret string) ([]byte, error) {
	hash := model.Hash(secret)
	switch {
	case model.EqualHash(secret, c.SecretHash), len(c.SecretHash) == 0 && clientid.IsSecret(s.keys, c.ID, secret):
		return hash, nil
	case len(c.SecretHash) > 0:
		return nil, model.ErrNotFound
	}
	// The key that made it may be gone, but not the logins that were redeemed with it.
	var known int64
	err := s.db.Reader(ctx).Model(&grantRow{}).Where("client_id = ? AND secret_hash = ?", c.ID, hash).Limit(1).Count(&known).Error
	if err == nil && known == 0 {
		err = model.ErrNotFound
	}
	return hash, err
}

// keepRegistered stores the client of an id that holds its registration, and reports
// whether it was not there before.
func (s *Store) keepRegistered(tx *gorm.DB, id string) (bool, error) {
	c, ok := clientid.Open(s.keys, id)
	if !ok {
		return false, nil // it is known by its row
	}
	c.CreatedAt = s.now()
	res := tx.Clauses(clause.OnConflict{DoNothing: true}).Create(newClientRow(c))
	return res.RowsAffected == 1, res.Error
}

// KeepClient stores a client that is described elsewhere, over what was stored
// of it before. One that was removed is there again.
func (s *Store) KeepClient(ctx context.Context, c model.Client) error {
	return s.db.Update(ctx, func(db *gorm.DB) error {
		return db.Clauses(clause.OnConflict{UpdateAll: true}).Create(newClientRow(c)).Error
	})
}

// Client returns the client of that id: from its row, or, as long as no user has logged in
// for it, from the id. The error is model.ErrNotFound, also for one that was removed.
func (s *Store) Client(ctx context.Context, id string) (model.Client, error) {
	r, err := take[clientRow](s.db.Reader(ctx), "id = ?", id)
	switch {
	case err == nil && r.DeletedAt == 0:
		return r.Client, nil
	case err != nil && !errors.Is(err, model.ErrNotFound):
		return model.Client{}, err
	case err != nil:
		if c, ok := clientid.Open(s.keys, id); ok {
			return c, nil
		}
	}
	return model.Client{}, model.ErrNotFound
}

// ClientUse is a client and how much it is used.
type ClientUse struct {
	model.Client `gorm:"embedded"`
	Grants       int       // that stand
	LastUsedAt   time.Time `gorm:"serializer:ms"` // see lastUse; zero if no login is known
}

// Clients returns all clients, the oldest first.
func (s *Store) Clients(ctx context.Context) ([]ClientUse, error) {
	var all []ClientUse
	err := s.db.Reader(ctx).Table("clients").
		Select("clients.*, (SELECT COUNT(*) FROM grants WHERE client_id = clients.id AND redeemed_at > 0 AND revoked_at = 0) AS grants, " +
			"COALESCE((SELECT MAX(" + lastUse + ") FROM grants g WHERE g.client_id = clients.id), 0) AS last_used_at").
		Where("deleted_at = 0").Order("created_at, id").Find(&all).Error
	return all, err
}

// RemoveClient ends a client, named by its id or model.ShortID, and all its grants, and
// returns it and the ids of those that stood. What Forgejo has issued to users who have no
// other grant is deleted. model.ErrNotFound: there is no such client.
func (s *Store) RemoveClient(ctx context.Context, id string) (c model.Client, grants []string, err error) {
	err = s.db.Update(ctx, func(tx *gorm.DB) error {
		// A login that ends meanwhile refers to the row: that waits, or is waited for.
		all := tx.Clauses(clause.Locking{Strength: "UPDATE"})
		r, err := take[clientRow](all, "(id = ? OR kind = ? AND substr(id, 1, ?) = ?) AND deleted_at = 0", id, model.ClientRegistered, len(id)+1, id+".")
		if err != nil {
			return err
		}
		c, grants = r.Client, nil
		if err := tx.Model(&r).Update("deleted_at", ms(s.now())).Error; err != nil {
			return err
		}
		if grants, err = lockGrants(tx, "client_id = ?", c.ID); err != nil || len(grants) == 0 {
			return err
		}
		var stand []model.Grant
		if err := tx.Where("id IN ?", grants).Find(&stand).Error; err != nil {
			return err
		}
		for _, g := range stand {
			if err := s.revoke(tx, g.ID); err != nil {
				return err
			}
			if _, err := s.dropUnused(tx, g.UserID); err != nil {
				return err
			}
		}
		return nil
	})
	return c, grants, err
}

type assertionRow struct {
	Hash      []byte `gorm:"primaryKey"`
	ExpiresAt int64
}

func (assertionRow) TableName() string { return "assertions" }

// UseAssertion records that the assertion behind key was used, until it
// expires, and reports whether this was the first time (RFC 7523 §3, jti).
func (s *Store) UseAssertion(ctx context.Context, key []byte, expires time.Time) (first bool, err error) {
	err = s.db.Update(ctx, func(db *gorm.DB) error {
		res := db.Clauses(clause.OnConflict{DoNothing: true}).Create(&assertionRow{Hash: key, ExpiresAt: ms(expires)})
		first = res.RowsAffected == 1
		return res.Error
	})
	return first, err
}
