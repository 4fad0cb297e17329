package sealed

import (
	"context"
	"errors"
	"fmt"

	"gorm.io/gorm"

	"github.com/fjmcp/fjmcp-broker/internal/store/database"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
)

// Resealed counts sealed values.
type Resealed struct {
	Values     int // that Reseal looked at
	Moved      int // of them, sealed anew
	Unreadable int // of them, with no key to read them, or damaged; deleted
}

// batch is how many values one transaction moves; others wait for it.
const batch = 50

// Reseal seals with the current key whatever an older key of the keyring sealed, and
// deletes what no key of it opens, in short transactions between those of others. Cut
// off, it has done part of its work, and the rest can be done again. At the end the
// database is written anew, so that what the old key sealed stands nowhere in it.
//
// Another process that seals with an older key undoes part of it: give all of
// them the new key first.
func Reseal(ctx context.Context, db *database.DB, keys *seal.Keyring) (Resealed, error) {
	r := resealer{db: db, keys: keys}
	for _, c := range columns {
		if err := r.all(ctx, c); err != nil {
			return r.Resealed, fmt.Errorf("cannot reseal %s: %w", c.table, err)
		}
	}
	if err := db.Update(ctx, func(tx *gorm.DB) error { return sealCanary(tx, keys) }); err != nil {
		return r.Resealed, err
	}
	return r.Resealed, db.Rewrite(ctx)
}

type resealer struct {
	Resealed
	db   *database.DB
	keys *seal.Keyring
}

// all goes through a column by its table's key.
func (r *resealer) all(ctx context.Context, c column) error {
	for last, more := []byte{}, true; more; {
		var done Resealed
		var next []byte
		err := r.db.Update(ctx, func(tx *gorm.DB) (err error) {
			done, next, err = r.some(tx, c, last)
			return err
		})
		if err != nil {
			return err
		}
		r.Values += done.Values
		r.Moved += done.Moved
		r.Unreadable += done.Unreadable
		last, more = next, done.Values == batch
	}
	return nil
}

// row is one sealed value.
type row struct{ Key, Sealed []byte }

// some looks at the rows after the key last and returns where it has come to.
func (r *resealer) some(tx *gorm.DB, c column, last []byte) (n Resealed, next []byte, err error) {
	var rows []row
	err = database.Locked(tx).Table(c.table).Select(c.key+" AS key, "+c.name+" AS sealed").
		Where(c.key+" > ? AND "+c.name+" IS NOT NULL", c.value(last)).Order(c.key).Limit(batch).Find(&rows).Error
	if err != nil {
		return n, last, err
	}
	n.Values = len(rows)
	for _, row := range rows {
		last = row.Key
		if r.keys.Current(row.Sealed) {
			continue
		}
		moved, err := r.move(tx, c, row)
		if err != nil {
			return n, last, err
		}
		if moved {
			n.Moved++
		} else {
			n.Unreadable++
		}
	}
	return n, last, nil
}

// move seals a value anew, or has its row do without, and reports which.
func (r *resealer) move(tx *gorm.DB, c column, row row) (moved bool, err error) {
	plain, err := r.keys.Open(row.Sealed, c.ad(row.Key))
	if errors.Is(err, seal.ErrUnknownKey) || errors.Is(err, seal.ErrCorrupt) {
		return false, tx.Exec(c.forget+" WHERE "+c.key+" = ?", c.value(row.Key)).Error
	}
	if err != nil {
		return false, err
	}
	return true, tx.Exec(fmt.Sprintf("UPDATE %s SET %s = ? WHERE %s = ?", c.table, c.name, c.key), r.keys.Seal(plain, c.ad(row.Key)), c.value(row.Key)).Error
}
