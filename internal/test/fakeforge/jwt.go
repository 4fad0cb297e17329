package fakeforge

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// tokenClaims are all that Forgejo's tokens hold. Two tokens of one grant and
// one second are the same string.
type tokenClaims struct {
	Grant   int64 `json:"gnt"`
	Type    int   `json:"tt"` // 0 access, 1 refresh
	Counter int64 `json:"cnt,omitempty"`
	Expires int64 `json:"exp"`
	Issued  int64 `json:"iat"`
}

const (
	accessType  = 0
	refreshType = 1
)

var signingKey = []byte(rand.Text())

// tokenHeader has a long key id, so that tokens have the length of some 850 characters
// that Forgejo's have, which are signed with RSA and 4096 bits.
var tokenHeader = b64([]byte(`{"alg":"HS256","kid":"` + strings.Repeat("fakeforge", 57) + `","typ":"JWT"}`))

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func sign(c tokenClaims) string {
	payload, _ := json.Marshal(c)
	return seal(tokenHeader + "." + b64(payload))
}

func seal(input string) string {
	mac := hmac.New(sha256.New, signingKey)
	mac.Write([]byte(input))
	return input + "." + b64(mac.Sum(nil))
}

// parse checks signature, type and time.
func parse(token string, kind int, now time.Time) (c tokenClaims, ok bool) {
	input := token[:max(0, strings.LastIndex(token, "."))]
	if !hmac.Equal([]byte(token), []byte(seal(input))) {
		return c, false
	}
	_, payload, _ := strings.Cut(input, ".")
	raw, err := base64.RawURLEncoding.DecodeString(payload)
	ok = err == nil && json.Unmarshal(raw, &c) == nil && c.Type == kind && now.Unix() < c.Expires
	return c, ok
}
