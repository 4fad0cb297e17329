package fakeforge

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"sync"
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

// signingKey is made once per process. Forgejo's has 4096 bits, which takes
// seconds to make; this one has 2048, and the key id is long in turn, so that
// tokens have Forgejo's length of some 850 characters.
var signingKey = sync.OnceValues(func() (*rsa.PrivateKey, error) {
	return rsa.GenerateKey(rand.Reader, 2048)
})

var tokenHeader = b64([]byte(`{"alg":"RS256","kid":"` + strings.Repeat("fakeforge", 26) + `","typ":"JWT"}`))

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func sign(c tokenClaims) (string, error) {
	key, err := signingKey()
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	input := tokenHeader + "." + b64(payload)
	sum := sha256.Sum256([]byte(input))
	sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	return input + "." + b64(sig), err
}

var errToken = errors.New("not a valid token")

// parse checks signature, type and time.
func parse(token string, kind int, now time.Time) (c tokenClaims, err error) {
	key, err := signingKey()
	if err != nil {
		return c, err
	}
	at := strings.LastIndex(token, ".")
	if at < 0 {
		return c, errToken
	}
	input, sig := token[:at], token[at+1:]
	sum := sha256.Sum256([]byte(input))
	raw, err := base64.RawURLEncoding.DecodeString(sig)
	if err != nil || rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], raw) != nil {
		return c, errToken
	}
	_, payload, _ := strings.Cut(input, ".")
	raw, err = base64.RawURLEncoding.DecodeString(payload)
	if err != nil || json.Unmarshal(raw, &c) != nil || c.Type != kind || now.Unix() >= c.Expires {
		return c, errToken
	}
	return c, nil
}
