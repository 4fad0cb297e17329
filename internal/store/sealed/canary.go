package sealed

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"gorm.io/gorm"

	"github.com/fjmcp/fjmcp-broker/internal/store/database"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
)

// ErrWrongKey says that none of the keys opens what is sealed in the database.
var ErrWrongKey = errors.New("the store key opens nothing in this database, which was sealed with another")

// The canary is a sealed value that holds nothing. Whoever has the key of the database
// opens it. Without it a wrong key would be noticed only when users' tokens cannot be
// read, and would seal others meanwhile.
var canaryAD = []byte("canary")

// CheckKey returns ErrWrongKey if the keys are not those of the database. One that is
// empty takes any, and keeps to it.
func CheckKey(ctx context.Context, db *database.DB, keys *seal.Keyring) error {
	fits, err := HasCanary(db.Reader(ctx), keys)
	if fits || err != nil {
		return err
	}
	return db.Update(ctx, func(tx *gorm.DB) error {
		if err := database.Serial(tx); err != nil {
			return err
		}
		if fits, err := HasCanary(tx, keys); fits || err != nil { // another process was faster
			return err
		}
		return firstCanary(tx, keys)
	})
}

// HasCanary reports whether there is a canary that the keys open. ErrWrongKey: it is
// another key's.
func HasCanary(db *gorm.DB, keys *seal.Keyring) (bool, error) {
	var sealed []byte
	err := db.Raw("SELECT sealed FROM canary").Row().Scan(&sealed)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("cannot read the database: %w", err)
	case !keys.Has(sealed):
		return false, ErrWrongKey
	}
	_, err = keys.Open(sealed, canaryAD)
	return err == nil, nil // a damaged one is made anew
}

// firstCanary is for a database from before there was one: all that is sealed in it must
// not be foreign. While an older key is needed the canary waits for Reseal, so that its
// key cannot be left out before.
func firstCanary(tx *gorm.DB, keys *seal.Keyring) error {
	sum, err := Count(tx, keys)
	switch {
	case err != nil:
		return err
	case sum.Sealed > 0 && sum.Unreadable == sum.Sealed:
		return ErrWrongKey
	case sum.Older > 0:
		return nil
	}
	return sealCanary(tx, keys)
}

// sealCanary has the current key recognised from now on.
func sealCanary(tx *gorm.DB, keys *seal.Keyring) error {
	err := tx.Exec("INSERT INTO canary (id, sealed) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed", keys.Seal(nil, canaryAD)).Error
	if err != nil {
		return fmt.Errorf("cannot note the store key in the database: %w", err)
	}
	return nil
}
