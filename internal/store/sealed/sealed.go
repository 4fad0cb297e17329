// Package sealed knows where sealed values stand in the database and what each is bound to:
// whether the store key is the one of the database, how much is sealed with which key, and
// how all of it comes under a new one. A value that is moved must not overwrite a newer one,
// and one that is forgotten here is lost with the old key.
package sealed

import (
	"encoding/hex"
	"fmt"

	"gorm.io/gorm"

	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
)

// ForgejoTokens is the associated data of a user's token set.
func ForgejoTokens(userID string) []byte { return []byte("forgejo_tokens/" + userID) }

// Verifier is the associated data of a login's PKCE verifier.
func Verifier(stateHash []byte) []byte { return []byte("logins/" + hex.EncodeToString(stateHash)) }

// LoginSet is the associated data of the token set that a login brought.
func LoginSet(stateHash []byte) []byte {
	return []byte("logins/set/" + hex.EncodeToString(stateHash))
}

// Successor is the associated data of what has replaced the refresh token of that hash.
func Successor(hash []byte) []byte {
	return []byte("refresh_tokens/successor/" + hex.EncodeToString(hash))
}

// SessionState is the associated data of what a process left to the next of a session.
func SessionState(sessionID string) []byte { return []byte("session_states/" + sessionID) }

// column is a place for sealed values.
type column struct {
	table, name string
	key         string // primary key of the table, which the associated data names
	text        bool   // the key is text, not bytes
	ad          func(key []byte) []byte
	// forget makes a row do without its value.
	forget string
}

var columns = []column{
	{"forgejo_tokens", "sealed", "user_id", true, func(id []byte) []byte { return ForgejoTokens(string(id)) }, "DELETE FROM forgejo_tokens"},
	{"logins", "verifier_sealed", "state_hash", false, Verifier, "DELETE FROM logins"},
	{"logins", "set_sealed", "state_hash", false, LoginSet, "DELETE FROM logins"},
	{"refresh_tokens", "successor_sealed", "hash", false, Successor, "UPDATE refresh_tokens SET successor_sealed = NULL"},
	{"session_states", "sealed", "session_id", true, func(id []byte) []byte { return SessionState(string(id)) }, "DELETE FROM session_states"},
}

// value is a key as the database compares it.
func (c column) value(key []byte) any {
	if c.text {
		return string(key)
	}
	return append([]byte{}, key...) // nil would be NULL
}

// Sum is how much is sealed.
type Sum struct {
	Sealed     int // values
	Older      int // of them, under an older key that the keyring has
	Unreadable int // of them, under a key that it lacks
}

// Count reads all of the tables that hold sealed values, but of each value its first bytes
// only.
func Count(db *gorm.DB, keys *seal.Keyring) (sum Sum, err error) {
	for _, c := range columns {
		var heads []struct {
			Head []byte
			N    int
		}
		err := db.Raw(fmt.Sprintf("SELECT substr(%[1]s, 1, ?) AS head, COUNT(*) AS n FROM %[2]s WHERE %[1]s IS NOT NULL GROUP BY head",
			c.name, c.table), seal.HeadSize).Scan(&heads).Error
		if err != nil {
			return sum, fmt.Errorf("cannot count what is sealed: %w", err)
		}
		for _, h := range heads {
			sum.Sealed += h.N
			switch {
			case keys.Current(h.Head):
			case keys.Has(h.Head):
				sum.Older += h.N
			default:
				sum.Unreadable += h.N
			}
		}
	}
	return sum, nil
}
