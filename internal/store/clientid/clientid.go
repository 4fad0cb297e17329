// Package clientid makes client ids that hold what their client registered, so that a
// registration is stored nowhere: whoever shows the id brings it along. It can be read by
// all and altered by nobody.
//
//	id      = tag "." payload       tag: 32 characters of a-z2-7
//	tag     = MAC over the payload as it stands there, with the store key
//	payload = base64url(deflate(JSON))
//
// Equal registrations have equal ids. All characters are unreserved in URLs (RFC 3986
// §2.3), since some clients send Basic credentials without encoding them.
package clientid

import (
	"bytes"
	"compress/flate"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
)

const (
	// MaxLen bounds an id in bytes. It travels in URLs and headers, which proxies cut at
	// 8 KiB. Those of real clients have 60 to 120.
	MaxLen = 2048

	maxJSON = 16 << 10 // bytes, of a payload when it is inflated
	tagSize = 20       // bytes: 160 bits, a whole number of characters
	tagLen  = 32       // characters
	purpose = "client registration 1"
)

var tagEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// registration is the JSON. Another order or name of a member makes other ids of equal
// registrations; one that is taken away loses what is in ids that clients hold.
type registration struct {
	RedirectURIs []string        `json:"r"`
	Name         string          `json:"n,omitempty"`
	AuthMethod   string          `json:"a"`
	JWKSURI      string          `json:"j,omitempty"`
	SigningAlg   string          `json:"s,omitempty"`
	JWKS         json.RawMessage `json:"k,omitempty"`
	Turn         int             `json:"t,omitempty"`
	GrantTypes   []string        `json:"g,omitempty"`
}

// words is the preset dictionary (RFC 1950 §2.2) of what stands in many registrations;
// with it ids have half the length. It is part of the format: to change it is to make
// all ids that clients hold unknown.
const words = `{"keys":[{"kty":"RSA","n":"","e":"AQAB"},{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"","x":"","y":""}]}` +
	`"s":"ES256","j":"https://www.","a":"private_key_jwt","a":"client_secret_basic"` +
	`{"r":["com.example:/oauth2redirect","http://[::1]/callback","https://claude.com/api/mcp/auth_callback","https://claude.ai/api/mcp/auth_callback",` +
	`"https://chatgpt.com/connector/oauth/","cursor://anysphere.cursor-mcp/oauth/callback","https://www.cursor.com/agents/mcp/oauth/callback",` +
	`"https://insiders.vscode.dev/redirect","https://vscode.dev/redirect","http://127.0.0.1/","http://127.0.0.1:33418/",` +
	`"http://127.0.0.1:6274/oauth/callback","http://localhost:8787/oauth/callback"],"n":"Visual Studio Code","n":"Claude","n":"MCP Client (","a":"client_secret_post","a":"none"}`

// ErrTooLarge says that a registration does not fit into an id, and what the client can do.
var ErrTooLarge = fmt.Errorf("the registration does not fit into a client_id of %d characters; register fewer or shorter redirect_uris, or jwks_uri in place of jwks", MaxLen)

// writers holds deflaters, each of which takes 0.8 MB.
var writers = sync.Pool{New: func() any {
	w, err := flate.NewWriterDict(io.Discard, flate.BestCompression, []byte(words))
	if err != nil {
		panic(err) // the level is no such one
	}
	return w
}}

// Seal returns the id of what c has registered: its redirect URIs, name, authentication
// method, keys and grant types. Each turn, from 0 on, has another id. The error is
// ErrTooLarge, or says that the keys are not JSON.
func Seal(keys *seal.Keyring, c model.Client, turn int) (string, error) {
	plain, err := json.Marshal(registration{
		RedirectURIs: c.RedirectURIs, Name: c.Name, AuthMethod: c.AuthMethod, JWKSURI: c.JWKSURI, SigningAlg: c.SigningAlg, JWKS: json.RawMessage(c.JWKS), Turn: turn,
		GrantTypes: c.GrantTypes,
	})
	if err != nil {
		return "", fmt.Errorf("cannot encode a registration: %w", err)
	}
	var short bytes.Buffer // never fails
	w := writers.Get().(*flate.Writer)
	w.Reset(&short)
	_, _ = w.Write(plain)
	_ = w.Close()
	writers.Put(w)
	payload := base64.RawURLEncoding.EncodeToString(short.Bytes())
	if tagLen+1+len(payload) > MaxLen || len(plain) > maxJSON {
		return "", ErrTooLarge
	}
	return tagEncoding.EncodeToString(keys.Tag(purpose, payload)[:tagSize]) + "." + payload, nil
}

// Open returns the client of an id that Seal made with a key of the keyring, and false
// for any other. The time of registration is not in it.
func Open(keys *seal.Keyring, id string) (model.Client, bool) {
	tag, payload, ok := strings.Cut(id, ".")
	if !ok || len(tag) != tagLen || len(id) > MaxLen {
		return model.Client{}, false
	}
	sum, err := tagEncoding.DecodeString(tag)
	if err != nil || len(sum) != tagSize || !keys.Tagged(sum, purpose, payload) {
		return model.Client{}, false
	}
	r, err := read(payload)
	return model.Client{
		ID: id, Kind: model.ClientRegistered, Name: r.Name, AuthMethod: r.AuthMethod, RedirectURIs: r.RedirectURIs,
		JWKS: string(r.JWKS), JWKSURI: r.JWKSURI, SigningAlg: r.SigningAlg, GrantTypes: r.GrantTypes,
	}, err == nil
}

// read inflates a payload that is known to be ours.
func read(payload string) (r registration, err error) {
	short, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return r, err
	}
	plain, err := io.ReadAll(io.LimitReader(flate.NewReaderDict(bytes.NewReader(short), []byte(words)), maxJSON+1))
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(plain, &r)
}
