package model

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
)

// Prefixes say what a random value is for, so that a leaked one can be
// recognised by people and by secret scanners.
const (
	PrefixAccess       = "fja_"
	PrefixRefresh      = "fjr_"
	PrefixCode         = "fjc_"
	PrefixClientSecret = "fjs_"
	PrefixDevice       = "fjd_"
)

// NewToken returns prefix and 256 random bits in base64url: characters that are
// unreserved in URLs (RFC 3986 §2.3), since some clients send Basic credentials
// without encoding them.
func NewToken(prefix string) string {
	b := make([]byte, 32)
	rand.Read(b) // never fails (crypto/rand)
	return prefix + base64.RawURLEncoding.EncodeToString(b)
}

// NewID returns 130 random bits in [a-z2-7], for names that are no credentials.
func NewID() string { return strings.ToLower(rand.Text()) }

// ShortID names a client in tables and logs: the part of its id before what it registered
// (package clientid), of other ids all.
func ShortID(clientID string) string {
	if short, _, sealed := strings.Cut(clientID, "."); sealed && !strings.Contains(clientID, "/") {
		return short
	}
	return clientID
}

// SessionLabel is the id by which the journal knows a session. It does not tell the
// Mcp-Session-Id.
func SessionLabel(sessionID string) string {
	sum := sha256.Sum256([]byte(sessionID))
	return hex.EncodeToString(sum[:8])
}

// Hash is how a token, code or client secret is stored: SHA-256. The values
// have 256 random bits, or are sealed with a random nonce, so neither salt nor stretching
// would add anything.
func Hash(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// EqualHash compares the hash of a presented secret to the stored one in
// constant time. An empty stored hash equals nothing.
func EqualHash(presented string, stored []byte) bool {
	return len(stored) > 0 && subtle.ConstantTimeCompare(Hash(presented), stored) == 1
}

// Scopes of the broker. Who may write may read.
const (
	ScopeRead  = "forgejo:read"
	ScopeWrite = "forgejo:write"
)

// Scopes lists the scopes that the broker gives, for metadata: ScopeRead alone where it
// may not write at the forge itself.
func Scopes(write bool) []string {
	if !write {
		return []string{ScopeRead}
	}
	return []string{ScopeRead, ScopeWrite}
}

// GrantedScope is what a request for scope is given, unless the user gives less.
// A client that names only ScopeRead of ours gets that. All others get both:
// clients ask for nothing, for OIDC's scopes, or for all they have read about.
// The token response states what they got (RFC 6749 §3.3).
func GrantedScope(scope string) string {
	asked := strings.Fields(scope)
	if slices.Contains(asked, ScopeRead) && !slices.Contains(asked, ScopeWrite) {
		return ScopeRead
	}
	return ScopeRead + " " + ScopeWrite
}

// ReadOnly reports whether scope lacks the right to write.
func ReadOnly(scope string) bool { return !slices.Contains(strings.Fields(scope), ScopeWrite) }
