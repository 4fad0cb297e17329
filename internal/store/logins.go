package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store/database"
	"github.com/fjmcp/fjmcp-broker/internal/store/sealed"
)

// Login is a login on its way: the user has consented and is at the forge.
// State and browser cookie are known by their hashes only. It prints redacted.
type Login struct {
	StateHash   []byte `gorm:"primaryKey"`
	BrowserHash []byte
	ClientID    string
	RedirectURI string `gorm:"column:redirect_uri"` // as the client sent it
	ClientState string // the client's own state, returned to it
	Challenge   string // the client's PKCE S256 challenge
	Scope       string // to grant
	Requested   string // by the client, see model.Grant
	Resource    string
	DeviceID    string              // of the DeviceRequest that it answers; then there is no redirect URI
	Verifier    string              `gorm:"-"` // our PKCE verifier towards the forge
	ExpiresAt   time.Time           `gorm:"serializer:ms"`
	Set         model.ForgejoTokens `gorm:"-"` // what the exchange brought; zero before
}

// Format hides the verifier and the client's state, whatever the verb.
func (l Login) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "Login(%s, redacted)", l.ClientID) }

type loginRow struct {
	Login          `gorm:"embedded"`
	VerifierSealed []byte
	Begun          int64 // generation
	TakenAt        int64
	SetSealed      []byte
}

func (loginRow) TableName() string { return "logins" }

// CreateLogin stores a login on its way.
func (s *Store) CreateLogin(ctx context.Context, l Login) error {
	sealed := s.keys.Seal([]byte(l.Verifier), sealed.Verifier(l.StateHash))
	return s.db.Update(ctx, func(tx *gorm.DB) error {
		row := loginRow{Login: l, VerifierSealed: sealed}
		if err := tx.Raw(database.GenerationQuery).Scan(&row.Begun).Error; err != nil {
			return err
		}
		return tx.Create(&row).Error
	})
}

// Login looks at a login without ending it. The error is model.ErrNotFound or
// model.ErrExpired.
func (s *Store) Login(ctx context.Context, stateHash []byte) (Login, error) {
	r, err := take[loginRow](s.db.Reader(ctx), "state_hash = ?", stateHash)
	if err != nil {
		return Login{}, err
	}
	if ms(r.ExpiresAt) <= ms(s.now()) {
		return Login{}, model.ErrExpired
	}
	return s.openLogin(r)
}

// TakeLogin returns a login and makes the caller the only one to have taken it.
// Once it was taken it is returned again only with Forgejo's token set in it, so
// that what failed after the exchange can be finished. The error is
// model.ErrNotFound, model.ErrExpired or model.ErrReused.
func (s *Store) TakeLogin(ctx context.Context, stateHash []byte) (Login, error) {
	res := s.db.Exec(ctx, "UPDATE logins SET taken_at = ? WHERE state_hash = ? AND taken_at = 0", ms(s.now()), stateHash)
	if res.Error != nil {
		return Login{}, res.Error
	}
	l, err := s.Login(ctx, stateHash)
	if err == nil && res.RowsAffected == 0 && l.Set == (model.ForgejoTokens{}) {
		return Login{}, model.ErrReused
	}
	return l, err
}

// KeepLoginSet stores, sealed, the token set that a taken login brought, until
// it is known whose it is.
func (s *Store) KeepLoginSet(ctx context.Context, stateHash []byte, set model.ForgejoTokens) error {
	plain, err := json.Marshal(set)
	if err != nil {
		return err
	}
	return one(s.db.Exec(ctx, "UPDATE logins SET set_sealed = ? WHERE state_hash = ?", s.keys.Seal(plain, sealed.LoginSet(stateHash)), stateHash))
}

// FinishLogin ends a login with a grant and the code that redeems it, and reports
// whether it is the first for a client that registered itself: that has its row from now
// on. Of several callers one succeeds, the others get model.ErrNotFound. Errors that leave
// the login as it is: model.ErrBlocked, and model.ErrRevoked if the operator has ended what
// the user had begun since it began.
func (s *Store) FinishLogin(ctx context.Context, stateHash []byte, g model.Grant, c Code) (first bool, err error) {
	err = s.db.Update(ctx, func(tx *gorm.DB) error {
		if err := endLogin(tx, stateHash, g.UserID); err != nil {
			return err
		}
		if first, err = s.keepRegistered(tx, g.ClientID); err != nil {
			return err
		}
		return insertGrant(tx, g, c)
	})
	return first, err
}

// FinishAccountLogin is FinishLogin for a login to the account page, which ends in v.
func (s *Store) FinishAccountLogin(ctx context.Context, stateHash []byte, v AccountSession) error {
	return s.db.Update(ctx, func(tx *gorm.DB) error {
		if err := endLogin(tx, stateHash, v.UserID); err != nil {
			return err
		}
		return tx.Create(&v).Error
	})
}

// endLogin deletes a login that has turned out to be the user's, if it may lead to
// anything.
func endLogin(tx *gorm.DB, stateHash []byte, userID string) error {
	l, err := takeLocked[loginRow](tx, "state_hash = ?", stateHash)
	if err == nil {
		err = lockUser(tx, userID)
	}
	if err != nil {
		return err
	}
	var ended int64
	if err := tx.Table("users").Where("id = ? AND revoked > ?", userID, l.Begun).Count(&ended).Error; err != nil {
		return err
	}
	if ended > 0 {
		return model.ErrRevoked
	}
	return tx.Delete(&l).Error
}

// DropLogin ends a login without a grant. Dropping one that is gone is no error.
func (s *Store) DropLogin(ctx context.Context, stateHash []byte) error {
	return s.db.Exec(ctx, "DELETE FROM logins WHERE state_hash = ?", stateHash).Error
}

// UnfinishedLogins returns the logins taken before that hold a token set. They
// may have expired.
func (s *Store) UnfinishedLogins(ctx context.Context, before time.Time) ([]Login, error) {
	var rows []loginRow
	if err := s.db.Reader(ctx).Where("set_sealed IS NOT NULL AND taken_at < ?", ms(before)).Order("taken_at").Find(&rows).Error; err != nil {
		return nil, err
	}
	list := make([]Login, len(rows))
	for i, r := range rows {
		var err error
		if list[i], err = s.openLogin(r); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (s *Store) openLogin(r loginRow) (Login, error) {
	verifier, err := s.keys.Open(r.VerifierSealed, sealed.Verifier(r.StateHash))
	if err != nil {
		return Login{}, fmt.Errorf("cannot read the login: %w", err)
	}
	l := r.Login
	l.Verifier = string(verifier)
	if r.SetSealed == nil {
		return l, nil
	}
	if err := s.openJSON(r.SetSealed, sealed.LoginSet(r.StateHash), &l.Set); err != nil {
		return Login{}, fmt.Errorf("cannot read the login's token set: %w", err)
	}
	return l, nil
}
