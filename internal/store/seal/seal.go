// Package seal encrypts the few secrets that fjmcp must read back: Forgejo's
// tokens, the PKCE verifier of a login on its way, and the successor of a
// rotated refresh token; and the state that MCP clients keep for it, which must
// come back unaltered. What clients bring back that nobody else may have made is
// tagged. Everything that only has to be recognised is stored as a hash instead.
// Its key is the credential `store-key`: without it, users have to log in again.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// KeySize is the length of a key in bytes: AES-256.
const KeySize = 32

// A sealed value is version (1 byte), key id (4 bytes), nonce (12 bytes),
// ciphertext, tag (16 bytes).
const (
	version   = 1
	keyIDSize = 4
	// HeadSize is how many bytes of a sealed value tell its key.
	HeadSize = 1 + keyIDSize
)

// ErrUnknownKey says that a value was sealed with a key the Keyring lacks.
var ErrUnknownKey = errors.New("cannot unseal: sealed with another key; restore the credential store-key this database was made with")

// ErrCorrupt says that a value was altered, moved to another row, or never was
// a sealed value.
var ErrCorrupt = errors.New("cannot unseal: the value is damaged or belongs to another row")

type keyID [keyIDSize]byte

// Keyring seals with one key and opens with that and any older ones. It is
// safe for concurrent use.
type Keyring struct {
	current keyID
	keys    map[keyID]cipher.AEAD
	all     [][]byte // the current one first
}

// NewKeyring returns a Keyring that seals with key and also opens what an older
// key sealed. Each key is KeySize bytes.
func NewKeyring(key []byte, older ...[]byte) (*Keyring, error) {
	k := &Keyring{keys: make(map[keyID]cipher.AEAD, 1+len(older))}
	for _, key := range append([][]byte{key}, older...) {
		if err := k.add(key); err != nil {
			return nil, err
		}
	}
	k.current = identify(key)
	return k, nil
}

func (k *Keyring) add(key []byte) error {
	if len(key) != KeySize {
		return fmt.Errorf("cannot use a store key of %d bytes: it must be exactly %d", len(key), KeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return fmt.Errorf("cannot use the store key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return fmt.Errorf("cannot use the store key: %w", err)
	}
	k.keys[identify(key)] = aead
	k.all = append(k.all, bytes.Clone(key))
	return nil
}

// identify derives a short public name of a key. It is a keyed hash, so it says
// nothing about the key itself.
func identify(key []byte) keyID { return keyID(mac(key, "fjmcp store key id")) }

func mac(key []byte, parts ...string) []byte {
	m := hmac.New(sha256.New, key)
	for _, part := range parts {
		m.Write([]byte(part))
	}
	return m.Sum(nil)
}

// Name is what the current key can be told from others by. It says nothing about the key.
func (k *Keyring) Name() string { return hex.EncodeToString(k.current[:]) }

// Named reports whether the Keyring has the key of that Name.
func (k *Keyring) Named(name string) bool {
	id, err := hex.DecodeString(name)
	return err == nil && len(id) == keyIDSize && k.keys[keyID(id)] != nil
}

// Tag authenticates what the broker gives out and wants to know again, with the
// current key: HMAC-SHA256 under a key that is derived for one purpose. It is the same
// each time. Parts are not told apart where one ends and the next begins.
func (k *Keyring) Tag(purpose string, parts ...string) []byte {
	return k.Tags(purpose, parts...)[0]
}

// Tags is what Tag returns, and what it returned for the same with each older key.
func (k *Keyring) Tags(purpose string, parts ...string) (tags [][]byte) {
	for _, key := range k.all {
		tags = append(tags, mac(mac(key, "fjmcp ", purpose), parts...))
	}
	return tags
}

// Tagged reports whether tag is what Tag returned for the same, with the current key
// or an older one, or begins it: no shorter than 16 bytes.
func (k *Keyring) Tagged(tag []byte, purpose string, parts ...string) bool {
	return len(tag) >= 16 && slices.ContainsFunc(k.Tags(purpose, parts...), func(whole []byte) bool {
		return hmac.Equal(tag, whole[:min(len(tag), len(whole))])
	})
}

// Seal encrypts plain with the current key. The associated data ad names the
// row the value belongs to; Open must be given the same.
func (k *Keyring) Seal(plain, ad []byte) []byte {
	out := make([]byte, HeadSize, HeadSize+len(plain)+28)
	out[0] = version
	copy(out[1:], k.current[:])
	// Version and key id are under the tag as well.
	return k.keys[k.current].Seal(out, nil, plain, slices.Concat(out, ad))
}

// Open decrypts what Seal returned for the same ad. The error is ErrUnknownKey
// or ErrCorrupt.
func (k *Keyring) Open(sealed, ad []byte) ([]byte, error) {
	id, ok := keyOf(sealed)
	if !ok {
		return nil, ErrCorrupt
	}
	if !k.Has(sealed) {
		return nil, ErrUnknownKey
	}
	plain, err := k.keys[id].Open(nil, nil, sealed[HeadSize:], slices.Concat(sealed[:HeadSize], ad))
	if err != nil {
		return nil, ErrCorrupt
	}
	return plain, nil
}

// Current reports whether sealed was made with the key that Seal uses now.
func (k *Keyring) Current(sealed []byte) bool {
	id, ok := keyOf(sealed)
	return ok && id == k.current
}

// Has reports whether the Keyring has the key that sealed was made with. Like
// Current it looks at the first HeadSize bytes only.
func (k *Keyring) Has(sealed []byte) bool {
	id, ok := keyOf(sealed)
	return ok && k.keys[id] != nil
}

// keyOf names the key of a sealed value; ok is false for anything else.
func keyOf(sealed []byte) (id keyID, ok bool) {
	if len(sealed) < HeadSize || sealed[0] != version {
		return id, false
	}
	return keyID(sealed[1:HeadSize]), true
}
