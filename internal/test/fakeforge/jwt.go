package fakeforge

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
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

// tokenHeader has a long key id, so that tokens have the length of some 850 characters
// that Forgejo's have, which are signed with RSA and 4096 bits.
var tokenHeader = b64([]byte(`{"alg":"HS256","kid":"` + strings.Repeat("fakeforge", 57) + `","typ":"JWT"}`))

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (f *Forge) sign(c tokenClaims) string {
	payload, _ := json.Marshal(c)
	return f.seal(tokenHeader + "." + b64(payload))
}

func (f *Forge) seal(input string) string {
	mac := hmac.New(sha256.New, f.key)
	mac.Write([]byte(input))
	return input + "." + b64(mac.Sum(nil))
}

// parse checks signature, type and time.
func (f *Forge) parse(token string, kind int) (c tokenClaims, ok bool) {
	input := token[:max(0, strings.LastIndex(token, "."))]
	if !hmac.Equal([]byte(token), []byte(f.seal(input))) {
		return c, false
	}
	_, payload, _ := strings.Cut(input, ".")
	raw, err := base64.RawURLEncoding.DecodeString(payload)
	ok = err == nil && json.Unmarshal(raw, &c) == nil && c.Type == kind && f.now().Unix() < c.Expires
	return c, ok
}
