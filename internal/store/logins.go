package store

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/fjmcp/fjmcp-broker/internal/broker"
)

// Login is a login on its way: the user has consented and is at the forge.
// State and browser cookie are known by their hashes only. It prints redacted.
type Login struct {
	StateHash   []byte
	BrowserHash []byte
	ClientID    string
	RedirectURI string // as the client sent it
	ClientState string // the client's own state, returned to it
	Challenge   string // the client's PKCE S256 challenge
	Scope       string // to grant
	Resource    string
	Verifier    string // our PKCE verifier towards the forge
	ExpiresAt   time.Time
}

// String hides the verifier and the client's state.
func (l Login) String() string { return "Login(" + l.ClientID + ", redacted)" }

// GoString hides the verifier and the client's state.
func (l Login) GoString() string { return l.String() }

type loginRow struct {
	StateHash      []byte `gorm:"primaryKey"`
	BrowserHash    []byte
	ClientID       string
	RedirectURI    string `gorm:"column:redirect_uri"`
	ClientState    string
	Challenge      string
	Scope          string
	Resource       string
	VerifierSealed []byte
	ExpiresAt      int64
}

func (loginRow) TableName() string { return "logins" }

func loginAD(stateHash []byte) []byte { return []byte("logins/" + hex.EncodeToString(stateHash)) }

// CreateLogin stores a login on its way.
func (s *Store) CreateLogin(ctx context.Context, l Login) error {
	return s.write.WithContext(ctx).Create(&loginRow{
		StateHash: l.StateHash, BrowserHash: l.BrowserHash, ClientID: l.ClientID, RedirectURI: l.RedirectURI,
		ClientState: l.ClientState, Challenge: l.Challenge, Scope: l.Scope, Resource: l.Resource,
		VerifierSealed: s.keys.Seal([]byte(l.Verifier), loginAD(l.StateHash)), ExpiresAt: ms(l.ExpiresAt),
	}).Error
}

// Login looks at a login without ending it. The error is broker.ErrNotFound or
// broker.ErrExpired.
func (s *Store) Login(ctx context.Context, stateHash []byte) (Login, error) {
	var r loginRow
	if err := s.reader(ctx).Where("state_hash = ?", stateHash).Take(&r).Error; err != nil {
		return Login{}, wrap(err)
	}
	return s.openLogin(r)
}

// TakeLogin returns a login and ends it: of several callers one gets it, the
// others broker.ErrNotFound.
func (s *Store) TakeLogin(ctx context.Context, stateHash []byte) (Login, error) {
	var rows []loginRow
	err := s.update(ctx, func(tx *gorm.DB) error {
		return one(tx.Clauses(clause.Returning{}).Where("state_hash = ?", stateHash).Delete(&rows))
	})
	if err != nil {
		return Login{}, err
	}
	return s.openLogin(rows[0])
}

func (s *Store) openLogin(r loginRow) (Login, error) {
	if r.ExpiresAt <= ms(s.now()) {
		return Login{}, broker.ErrExpired
	}
	verifier, err := s.keys.Open(r.VerifierSealed, loginAD(r.StateHash))
	if err != nil {
		return Login{}, fmt.Errorf("cannot read the login: %w", err)
	}
	return Login{
		StateHash: r.StateHash, BrowserHash: r.BrowserHash, ClientID: r.ClientID, RedirectURI: r.RedirectURI,
		ClientState: r.ClientState, Challenge: r.Challenge, Scope: r.Scope, Resource: r.Resource,
		Verifier: string(verifier), ExpiresAt: fromMS(r.ExpiresAt),
	}, nil
}
