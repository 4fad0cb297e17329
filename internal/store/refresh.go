package store

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"gorm.io/gorm"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// A refresh token says, sealed, which one of which grant it is. As long as its row is
// there nobody asks. After a restore clients come with tokens that were made after the
// backup: that they are the broker's, and newer than what the database knows, they tell
// themselves.

// issued is what a refresh token says of itself. Times are ms.
type issued struct {
	Grant      string `json:"g"`
	Generation int    `json:"n"`
	At         int64  `json:"a"`
	ExpiresAt  int64  `json:"e"`
}

var issuedAD = []byte("refresh token")

// mint makes a refresh token. The nonce of the seal makes each another.
func (s *Store) mint(i issued) (string, error) {
	plain, err := json.Marshal(i)
	if err != nil {
		return "", err
	}
	return model.PrefixRefresh + base64.RawURLEncoding.EncodeToString(s.keys.Seal(plain, issuedAD)), nil
}

// minted returns what a token says of itself, if one of the keys made it.
func (s *Store) minted(token string) (i issued, ok bool) {
	text, ok := strings.CutPrefix(token, model.PrefixRefresh)
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if !ok || err != nil || s.openJSON(sealed, issuedAD, &i) != nil {
		return issued{}, false
	}
	return i, true
}

// familyToken is a refresh token of a family that the database has.
type familyToken struct {
	refreshRow
	lost bool // it was made after the backup that the family was restored from
}

// familyToken finds a refresh token, and locks its row. model.ErrNotFound: it is unknown.
func (s *Store) familyToken(tx *gorm.DB, token string) (f familyToken, err error) {
	f.refreshRow, err = takeLocked[refreshRow](tx, "hash = ?", model.Hash(token))
	i, ok := issued{}, false
	if errors.Is(err, model.ErrNotFound) {
		i, ok = s.minted(token)
	}
	if !ok {
		return f, err
	}
	g, err := take[grantRow](tx, "id = ? AND restored <> ?", i.Grant, neverRestored)
	if err != nil {
		return f, err
	}
	f.lost = true
	f.refreshRow = refreshRow{Hash: model.Hash(token), GrantID: g.ID, CreatedAt: i.At, ExpiresAt: i.ExpiresAt, Generation: i.Generation}
	return f, nil
}

// What a grant knows of a restore.
const (
	neverRestored = iota
	restoredAsIs  // its client may have a newer token than the database knows
	refreshedOnce // and has come since the restore
)

// spent reports whether a refresh token was used before, and its time of grace is over:
// then somebody has it who should not (RFC 9700 §4.14.2).
//
// Of a grant that was restored, the database does not know what was used between the
// backup and the restore. The first token to come that may be the newest continues the
// family. Any other that was made after the backup shows, when it comes afterwards, that
// two have tokens of this family.
func (s *Store) spent(tx *gorm.DB, r familyToken, g grantRow) (bool, error) {
	switch {
	case r.Generation < g.LeastGeneration:
		return true, nil
	case r.lost && g.Restored != restoredAsIs:
		return true, nil
	case r.lost:
		var newest int
		err := tx.Raw("SELECT COALESCE(MAX(generation), -1) FROM refresh_tokens WHERE grant_id = ?", g.ID).Row().Scan(&newest)
		return r.Generation <= newest, err
	case r.SuccessorHash != nil:
		return s.graceOver(tx, r)
	}
	return false, nil
}

// continueRestored decides by the first token that comes how a restored family continues. One
// that was made after the backup takes the place of all that came before.
func continueRestored(tx *gorm.DB, r familyToken, g grantRow) error {
	if g.Restored != restoredAsIs {
		return nil
	}
	if err := tx.Exec("UPDATE grants SET restored = ? WHERE id = ?", refreshedOnce, g.ID).Error; err != nil {
		return fmt.Errorf("cannot continue a restored grant: %w", err)
	}
	if !r.lost {
		return nil
	}
	err := tx.Exec("UPDATE refresh_tokens SET first_used_at = CASE WHEN first_used_at = 0 THEN 1 ELSE first_used_at END, successor_hash = ?, successor_sealed = NULL WHERE grant_id = ?", r.Hash, g.ID).Error
	if err == nil {
		err = tx.Create(&r.refreshRow).Error
	}
	return err
}
