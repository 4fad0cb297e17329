package clientmeta

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

func set(t testing.TB, keys ...any) []byte {
	t.Helper()
	var s jose.JSONWebKeySet
	for _, k := range keys {
		s.Keys = append(s.Keys, jose.JSONWebKey{Key: k})
	}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseKeys(t *testing.T) {
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	ed, edPrivate, _ := ed25519.GenerateKey(rand.Reader)
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	short := `{"keys":[{"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("v", 171) + `"}]}` // 1026 bits
	long := `{"keys":[{"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("v", 2731) + `"}]}` // 16386 bits
	for name, tt := range map[string]struct {
		set  []byte
		n    int
		want string
	}{
		"all kinds":      {set(t, p256.Public(), ed, rsa2048.Public()), 3, ""},
		"one of a kind":  {set(t, p384.Public(), p256.Public()), 1, ""},
		"unknown type":   {[]byte(`{"keys":[{"kty":"new"},` + string(set(t, ed)[9:])), 1, ""},
		"private":        {set(t, p256), 0, "secret key"},
		"private ed":     {set(t, ed, edPrivate), 0, "secret key"},
		"shared":         {[]byte(`{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`), 0, "secret key"},
		"short RSA":      {[]byte(short), 0, "no key"},
		"long RSA":       {[]byte(long), 0, "no key"},
		"other curve":    {set(t, p384.Public()), 0, "no key"},
		"for encryption": {[]byte(strings.Replace(string(set(t, ed)), `"kty"`, `"use":"enc","kty"`, 1)), 0, "no key"},
		"too many":       {[]byte(`{"keys":[` + strings.Repeat("{},", 32) + `{}]}`), 0, "more than 32"},
		"empty":          {[]byte(`{"keys":[]}`), 0, "no key"},
		"null key":       {[]byte(`{"keys":[null,1,"x",[]]}`), 0, "no key"},
		"no keys":        {[]byte(`{}`), 0, "no key"},
		"a list":         {[]byte(`[]`), 0, "not a JSON Web Key Set"},
		"nothing":        {nil, 0, "not a JSON Web Key Set"},
	} {
		keys, err := ParseKeys(tt.set)
		if len(keys) != tt.n || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %d keys, %v", name, len(keys), err)
		}
	}
}

func FuzzKeys(f *testing.F) {
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ed, _, _ := ed25519.GenerateKey(rand.Reader)
	f.Add(set(f, p256.Public(), ed))
	f.Add([]byte(`{"keys":[{"kty":"RSA","e":"AQAB","n":"vvvv"},{"kty":"oct","k":""}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"OKP","crv":"Ed25519","x":""}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"","e":"","x5c":["!"],"d":null}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, err := ParseKeys(body)
		if (err == nil) != (len(keys) > 0) || len(keys) > maxKeys {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		for _, k := range keys {
			if !k.IsPublic() || !usable(k) {
				t.Errorf("%+v is kept", k)
			}
		}
	})
}

func FuzzFreshness(f *testing.F) {
	f.Add("max-age=300, public", "10")
	f.Add("no-store", "-1")
	f.Add("max-age=99999999999999999999", "")
	f.Fuzz(func(t *testing.T, control, age string) {
		got := freshness(map[string][]string{"Cache-Control": {control}, "Age": {age}})
		if got < freshMin || got > freshMax {
			t.Errorf("%s", got)
		}
	})
}
