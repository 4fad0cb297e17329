package oauth

import (
	"crypto/rand"
	"strings"
	"unicode"
)

// GrantDevice is the device authorization grant (RFC 8628 §3.4).
const GrantDevice = "urn:ietf:params:oauth:grant-type:device_code"

// Error codes of the token endpoint for it (RFC 8628 §3.5), besides AccessDenied.
const (
	AuthorizationPending = "authorization_pending"
	SlowDown             = "slow_down"
	ExpiredToken         = "expired_token"
)

// DeviceResponse is the answer of the device authorization endpoint (RFC 8628 §3.2).
type DeviceResponse struct {
	DeviceCode              string `json:"device_code"`
	UserCode                string `json:"user_code"`
	VerificationURI         string `json:"verification_uri"`
	VerificationURIComplete string `json:"verification_uri_complete"`
	ExpiresIn               int64  `json:"expires_in"` // seconds
	Interval                int64  `json:"interval"`   // seconds between two polls
}

// A user code is UserCodeLength letters of userCodeLetters: without vowels, so that none
// is a word, and without digits (RFC 8628 §6.1). There are 20^8, 34.6 bits.
const (
	UserCodeLength  = 8
	userCodeLetters = "BCDFGHJKLMNPQRSTVWXZ"
)

// NewUserCode returns a random user code, as it is shown: with a dash in its middle.
func NewUserCode() string {
	code := make([]byte, 0, UserCodeLength)
	for raw := make([]byte, 1); len(code) < UserCodeLength; {
		rand.Read(raw) // never fails (crypto/rand)
		if n := len(userCodeLetters); int(raw[0]) < 256/n*n {
			code = append(code, userCodeLetters[int(raw[0])%n])
		}
	}
	return ShowUserCode(string(code))
}

// ParseUserCode returns the letters of a user code that somebody typed, in upper case and
// without what stands between them; ok is false for what no user code can be.
func ParseUserCode(typed string) (code string, ok bool) {
	if len(typed) > 10*UserCodeLength {
		return "", false
	}
	code = strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsNumber(r) || r == unicode.ReplacementChar {
			return unicode.ToUpper(r)
		}
		return -1
	}, typed)
	return code, len(code) == UserCodeLength && strings.Trim(code, userCodeLetters) == ""
}

// ShowUserCode is a parsed user code as people read it.
func ShowUserCode(code string) string {
	return code[:UserCodeLength/2] + "-" + code[UserCodeLength/2:]
}
