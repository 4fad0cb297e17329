package store

import (
	"context"

	"github.com/fjmcp/fjmcp-broker/internal/broker"
)

type clientRow struct {
	ID           string `gorm:"primaryKey"`
	Name         string
	SecretHash   []byte
	AuthMethod   string
	RedirectURIs []string `gorm:"column:redirect_uris;serializer:json"`
	GrantTypes   []string `gorm:"serializer:json"`
	URI          string   `gorm:"column:uri"`
	CreatedAt    int64    `gorm:"autoCreateTime:false"`
}

func (clientRow) TableName() string { return "clients" }

// CreateClient stores a new client.
func (s *Store) CreateClient(ctx context.Context, c broker.Client) error {
	return s.write.WithContext(ctx).Create(&clientRow{
		ID: c.ID, Name: c.Name, SecretHash: c.SecretHash, AuthMethod: c.AuthMethod,
		RedirectURIs: list(c.RedirectURIs), GrantTypes: list(c.GrantTypes), URI: c.URI, CreatedAt: ms(c.CreatedAt),
	}).Error
}

// Client returns the client of that id, or broker.ErrNotFound.
func (s *Store) Client(ctx context.Context, id string) (broker.Client, error) {
	var r clientRow
	if err := s.reader(ctx).Where("id = ?", id).Take(&r).Error; err != nil {
		return broker.Client{}, wrap(err)
	}
	return broker.Client{
		ID: r.ID, Name: r.Name, SecretHash: r.SecretHash, AuthMethod: r.AuthMethod,
		RedirectURIs: r.RedirectURIs, GrantTypes: r.GrantTypes, URI: r.URI, CreatedAt: fromMS(r.CreatedAt),
	}, nil
}

// list keeps an empty list from being stored as NULL.
func list(v []string) []string { return append([]string{}, v...) }
