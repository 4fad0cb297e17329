package oauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
)

// S256 is the only PKCE method served (RFC 7636 §4.2).
const S256 = "S256"

// Challenge is the S256 challenge of a verifier.
func Challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// ValidChallenge reports whether c can be an S256 challenge: 43 characters of
// unpadded base64url, as SHA-256 gives them.
func ValidChallenge(c string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(c)
	return err == nil && len(b) == sha256.Size && len(c) == 43
}

// ValidVerifier reports whether v is a code_verifier by RFC 7636 §4.1: 43 to 128
// unreserved characters.
func ValidVerifier(v string) bool {
	if len(v) < 43 || len(v) > 128 {
		return false
	}
	for i := range len(v) {
		if !unreserved(v[i]) {
			return false
		}
	}
	return true
}

// VerifyPKCE reports in constant time whether verifier belongs to challenge.
func VerifyPKCE(verifier, challenge string) bool {
	return ValidVerifier(verifier) && subtle.ConstantTimeCompare([]byte(Challenge(verifier)), []byte(challenge)) == 1
}

// unreserved is RFC 3986 §2.3.
func unreserved(c byte) bool {
	return isAlnum(c) || c == '-' || c == '.' || c == '_' || c == '~'
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
