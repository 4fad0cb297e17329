package clientmeta

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

const (
	maxKeys   = 32
	minRSA    = 2048            // bits, RFC 7518 §3.3
	maxRSA    = 8192            // bits: more would cost us, not the client
	rereadKey = 1 * time.Minute // a key set is not read again sooner for an unknown key
)

// ParseKeys reads a JSON Web Key Set (RFC 7517 §5) and returns the keys that
// can check a signature of oauth.SigningAlgs. Others are left out; without any
// the set is refused, and so is one with a private or a shared key.
func ParseKeys(set []byte) ([]jose.JSONWebKey, error) {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(set, &raw); err != nil {
		return nil, errors.New("jwks is not a JSON Web Key Set")
	}
	if len(raw.Keys) > maxKeys {
		return nil, fmt.Errorf("jwks has more than %d keys", maxKeys)
	}
	var keys []jose.JSONWebKey
	for _, r := range raw.Keys {
		if secret(r) {
			return nil, errors.New("jwks holds a secret key; it must hold public keys only")
		}
		var k jose.JSONWebKey
		if err := json.Unmarshal(r, &k); err == nil && usable(k) {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("jwks has no key for a signature with RS256, PS256, ES256 or EdDSA")
	}
	return keys, nil
}

// secret reports whether a JWK has the member of a private or a shared key
// (RFC 7518 §6).
func secret(raw json.RawMessage) bool {
	var k struct {
		D json.RawMessage `json:"d"`
		K json.RawMessage `json:"k"`
	}
	return json.Unmarshal(raw, &k) == nil && (k.D != nil || k.K != nil)
}

func usable(k jose.JSONWebKey) bool {
	if k.Use != "" && k.Use != "sig" || !k.Valid() {
		return false
	}
	switch key := k.Key.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() >= minRSA && key.N.BitLen() <= maxRSA
	case *ecdsa.PublicKey:
		return key.Curve == elliptic.P256()
	case ed25519.PublicKey:
		return true
	}
	return false
}

// Keys returns the keys that may have made a signature of the client whose
// header names kid, or none. The error is an *Error, or the context's. A nil
// Fetcher knows only the keys that the client gave itself.
func (f *Fetcher) Keys(ctx context.Context, c model.Client, kid string) ([]jose.JSONWebKey, error) {
	if c.JWKSURI == "" {
		keys, err := ParseKeys([]byte(c.JWKS))
		if err != nil {
			err = &Error{err.Error(), false, nil}
		}
		return named(keys, kid), err
	}
	if f == nil {
		return nil, &Error{"this server does not fetch keys", true, nil}
	}
	keys, err := f.keys.get(ctx, c.JWKSURI, time.Time{})
	if err == nil && len(named(keys, kid)) == 0 {
		keys, err = f.keys.get(ctx, c.JWKSURI, f.keys.now().Add(-rereadKey)) // it may be a new one
	}
	var failure *Error
	if errors.As(err, &failure) {
		f.log.InfoContext(ctx, "cannot read a client's keys", "jwks_uri", c.JWKSURI, "reason", failure.Reason, "error", failure.cause)
	}
	return named(keys, kid), err
}

// named returns the keys of that id, or all where the signature names none.
func named(keys []jose.JSONWebKey, kid string) []jose.JSONWebKey {
	if kid == "" {
		return keys
	}
	return slices.DeleteFunc(slices.Clone(keys), func(k jose.JSONWebKey) bool { return k.KeyID != kid })
}
