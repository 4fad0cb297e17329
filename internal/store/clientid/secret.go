package clientid

import (
	"crypto/rand"
	"encoding/base64"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
)

const (
	secretPurpose = "client secret 1"
	nonceSize     = 16 // bytes, random
	secretLen     = 64 // characters after the prefix: nonce and a MAC of 32 bytes
)

// NewSecret returns a secret for the client of an id. Each is another: whoever registers
// the same must not learn the secret of those who did before.
func NewSecret(keys *seal.Keyring, id string) string {
	nonce := make([]byte, nonceSize)
	rand.Read(nonce) // never fails (crypto/rand)
	return model.PrefixClientSecret + base64.RawURLEncoding.EncodeToString(append(nonce, keys.Tag(secretPurpose, id, string(nonce))...))
}

// IsSecret reports whether secret came from NewSecret for that id, with a key of the
// keyring.
func IsSecret(keys *seal.Keyring, id, secret string) bool {
	text, ok := strings.CutPrefix(secret, model.PrefixClientSecret)
	raw, err := base64.RawURLEncoding.DecodeString(text)
	return ok && len(text) == secretLen && err == nil && len(raw) > nonceSize && keys.Tagged(raw[nonceSize:], secretPurpose, id, string(raw[:nonceSize]))
}
