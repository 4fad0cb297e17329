package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"gorm.io/gorm"
)

// ErrWrongKey says that none of the keys opens what is sealed in the database.
var ErrWrongKey = errors.New("the store key opens nothing in this database, which was sealed with another")

// The canary is a sealed value that holds nothing. Whoever has the key of the database
// opens it. Without it a wrong key would be noticed only when users' tokens cannot be
// read, and would seal others meanwhile.
var canaryAD = []byte("canary")

// checkKey returns ErrWrongKey if the keys are not those of the database.
func (s *Store) checkKey(ctx context.Context) error {
	fits, err := s.hasCanary(s.reader(ctx))
	if fits || err != nil {
		return err
	}
	return s.update(ctx, func(tx *gorm.DB) error {
		if fits, err := s.hasCanary(tx); fits || err != nil { // another process was faster
			return err
		}
		return s.firstCanary(ctx, tx)
	})
}

// hasCanary reports whether there is a canary that the keys open.
func (s *Store) hasCanary(db *gorm.DB) (bool, error) {
	var sealed []byte
	err := db.Raw("SELECT sealed FROM canary").Row().Scan(&sealed)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("cannot read the database: %w", err)
	case !s.keys.Has(sealed):
		return false, ErrWrongKey
	}
	_, err = s.keys.Open(sealed, canaryAD)
	return err == nil, nil // a damaged one is made anew
}

// firstCanary is for a database from before there was one: all that is sealed in it must
// not be foreign. While an older key is needed the canary waits for Reseal, so that its
// key cannot be left out before.
func (s *Store) firstCanary(ctx context.Context, tx *gorm.DB) error {
	var sum Summary
	for _, c := range sealedColumns {
		if err := s.within(tx).countSealed(ctx, c, &sum); err != nil {
			return fmt.Errorf("cannot count what is sealed: %w", err)
		}
	}
	switch {
	case sum.Sealed > 0 && sum.Unreadable == sum.Sealed:
		return ErrWrongKey
	case sum.Older > 0:
		return nil
	}
	return s.sealCanary(tx)
}

// sealCanary has the current key recognised from now on.
func (s *Store) sealCanary(tx *gorm.DB) error {
	err := tx.Exec("INSERT OR REPLACE INTO canary (id, sealed) VALUES (1, ?)", s.keys.Seal(nil, canaryAD)).Error
	if err != nil {
		return fmt.Errorf("cannot note the store key in the database: %w", err)
	}
	return nil
}
