package oauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"regexp"
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

var verifierPattern = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

// ValidVerifier reports whether v is a code_verifier by RFC 7636 §4.1: 43 to 128
// unreserved characters.
func ValidVerifier(v string) bool { return verifierPattern.MatchString(v) }

// VerifyPKCE reports in constant time whether verifier belongs to challenge.
func VerifyPKCE(verifier, challenge string) bool {
	return ValidVerifier(verifier) && subtle.ConstantTimeCompare([]byte(Challenge(verifier)), []byte(challenge)) == 1
}
