package forgejo

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// Claims are what Forgejo's tokens say about themselves. They are read without
// checking the signature, so they may order token sets that came from Forgejo
// itself and must never decide about access.
type Claims struct {
	Grant    int64 `json:"gnt"` // id of the grant, (user, application)
	Type     int64 `json:"tt"`  // 0 access, 1 refresh
	Counter  int64 `json:"cnt"` // refresh tokens only; rises with every rotation
	IssuedAt int64 `json:"iat"` // Unix seconds
	Expires  int64 `json:"exp"` // Unix seconds
}

// maxToken bounds what ReadClaims looks at, in bytes; Forgejo's tokens have some
// 850.
const maxToken = 16 << 10

// ReadClaims reads the claims of a JWT (RFC 7519 §3). ok is false for anything
// that is not one with numeric gnt and iat, as tokens of a future Forgejo may be.
func ReadClaims(token string) (c Claims, ok bool) {
	if len(token) > maxToken {
		return Claims{}, false
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return Claims{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &c) != nil || c.Grant <= 0 || c.IssuedAt <= 0 {
		return Claims{}, false
	}
	return c, true
}

// SameGrant reports whether two sets belong to one grant at Forgejo. Sets that
// cannot be read count as the same.
func SameGrant(a, b model.ForgejoTokens) bool {
	x, ok := ReadClaims(a.RefreshToken)
	y, ok2 := ReadClaims(b.RefreshToken)
	return !ok || !ok2 || x.Grant == y.Grant
}

// Supersedes reports whether next, which is about to be written, may replace
// current: a late answer must not overwrite the set of a newer login. It is late only
// if it was issued earlier and, within one grant, its counter is the lower one as well.
// One alone means nothing: a forge that was restored from a backup counts from a former
// number, and one whose clock was set back issues at a former time. Between grants (the
// user revoked and logged in again, which starts the counter anew) the later issue wins.
// Equal claims, and claims that cannot be read, let the newer write win.
func Supersedes(next, current model.ForgejoTokens) bool {
	n, ok := ReadClaims(next.RefreshToken)
	c, ok2 := ReadClaims(current.RefreshToken)
	if !ok || !ok2 {
		return true
	}
	if n.Grant == c.Grant && n.Counter != c.Counter {
		return n.Counter > c.Counter || n.IssuedAt > c.IssuedAt
	}
	return n.IssuedAt >= c.IssuedAt
}
