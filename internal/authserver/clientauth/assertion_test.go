package clientauth_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/clientauth"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/clientmeta"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeweb"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

const (
	issuer   = "https://mcp.example.org"
	tokenURL = issuer + "/oauth/token"
)

// world is a server's clients with a clock that stands still.
type world struct {
	*clientauth.Clients
	store *store.Store
	web   *fakeweb.Web
	now   time.Time
}

func newWorld(t testing.TB) *world {
	w := &world{now: time.Unix(1_800_000_000, 0), web: fakeweb.Start(t)}
	now := func() time.Time { return w.now }
	cfg := clientmeta.Config{Log: slog.New(slog.DiscardHandler), Now: now}
	w.web.Configure(&cfg)
	w.store = teststore.Open(t, teststore.Path(t), now)
	w.Clients = clientauth.New(clientauth.Config{
		Store: w.store, Documents: clientmeta.New(cfg), Audiences: []string{issuer, tokenURL}, Now: now,
	})
	return w
}

func (w *world) add(t testing.TB, c model.Client) {
	t.Helper()
	c.CreatedAt = w.now
	if err := w.store.KeepClient(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func jwks(t testing.TB, keys ...jose.JSONWebKey) string {
	t.Helper()
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// claims are good ones with changes; nil removes a claim.
func (w *world) claims(changes map[string]any) map[string]any {
	v := map[string]any{"iss": "c", "sub": "c", "aud": tokenURL, "exp": w.now.Add(5 * time.Minute).Unix(), "iat": w.now.Unix(), "jti": rand.Text()}
	for name, value := range changes {
		if v[name] = value; value == nil {
			delete(v, name)
		}
	}
	return v
}

// sign makes a JWT of any content.
func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, kid string, payload any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	object, err := signer.Sign(b)
	if err != nil {
		t.Fatal(err)
	}
	token, err := object.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// edKey is the same at every run, so that fuzz seeds stay valid.
func edKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
}

func edClient(t testing.TB) model.Client {
	return model.Client{ID: "c", AuthMethod: oauth.AuthPrivateKey, JWKS: jwks(t, jose.JSONWebKey{Key: edKey().Public(), KeyID: "k"})}
}

func (w *world) refused(t *testing.T, name string, given oauth.Credentials, code, want string) {
	t.Helper()
	_, err := w.Authenticate(t.Context(), given, nil)
	var refused *oauth.Error
	if !errors.As(err, &refused) || refused.Code != code || !strings.Contains(refused.Description, want) {
		t.Errorf("%s: %v, want %s %q", name, err, code, want)
	}
}

func TestAlgorithms(t *testing.T) {
	w := newWorld(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w.add(t, model.Client{ID: "c", AuthMethod: oauth.AuthPrivateKey, JWKS: jwks(t,
		jose.JSONWebKey{Key: rsaKey.Public(), KeyID: "rsa"}, jose.JSONWebKey{Key: ecKey.Public(), KeyID: "ec"}, jose.JSONWebKey{Key: edKey().Public(), KeyID: "ed"})})
	for alg, key := range map[jose.SignatureAlgorithm]crypto.Signer{jose.RS256: rsaKey, jose.PS256: rsaKey, jose.ES256: ecKey, jose.EdDSA: edKey()} {
		for _, kid := range []string{"", map[jose.SignatureAlgorithm]string{jose.RS256: "rsa", jose.PS256: "rsa", jose.ES256: "ec", jose.EdDSA: "ed"}[alg]} {
			c, err := w.Authenticate(t.Context(), oauth.Credentials{Assertion: sign(t, alg, key, kid, w.claims(nil))}, nil)
			if err != nil || c.ID != "c" {
				t.Errorf("%s with kid %q: %v", alg, kid, err)
			}
		}
		w.refused(t, "another key's id", oauth.Credentials{Assertion: sign(t, alg, key, "other", w.claims(nil))}, oauth.InvalidClient, "not signed with a key of this client")
	}
	public, err := json.Marshal(edKey().Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"RS384":      sign(t, jose.RS384, rsaKey, "rsa", w.claims(nil)),
		"HS256":      sign(t, jose.HS256, bytes.Repeat([]byte("k"), 32), "ed", w.claims(nil)),
		"public key": sign(t, jose.HS256, public, "ed", w.claims(nil)), // the classic confusion
		"none":       base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"c","sub":"c"}`)) + ".",
	} {
		w.refused(t, name, oauth.Credentials{Assertion: token}, oauth.InvalidClient, "RS256, PS256, ES256, EdDSA")
	}
}

func TestAssertionClaims(t *testing.T) {
	w := newWorld(t)
	w.add(t, edClient(t))
	at := func(d time.Duration) int64 { return w.now.Add(d).Unix() }
	for name, changes := range map[string]map[string]any{
		"token URL": {}, "issuer": {"aud": issuer}, "a list": {"aud": []string{tokenURL}}, "both": {"aud": []string{issuer, tokenURL}},
		"no iat": {"iat": nil}, "clock ahead": {"iat": at(59 * time.Second), "nbf": at(59 * time.Second)}, "clock behind": {"exp": at(-59 * time.Second)},
		"an hour": {"exp": at(time.Hour)}, "old": {"iat": at(-24 * time.Hour)}, "more claims": {"scope": "x", "nested": map[string]any{"a": 1}},
	} {
		if _, err := w.Authenticate(t.Context(), oauth.Credentials{ID: "c", Assertion: sign(t, jose.EdDSA, edKey(), "k", w.claims(changes))}, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, tt := range map[string]struct {
		changes map[string]any
		want    string
	}{
		"no aud":            {map[string]any{"aud": nil}, "aud"},
		"empty aud":         {map[string]any{"aud": []string{}}, "aud"},
		"foreign aud":       {map[string]any{"aud": "https://other.example"}, "aud"},
		"aud beside":        {map[string]any{"aud": []string{tokenURL, "https://other.example"}}, "aud"},
		"resource as aud":   {map[string]any{"aud": issuer + "/mcp"}, "aud"},
		"number as aud":     {map[string]any{"aud": 1}, "claims"},
		"no exp":            {map[string]any{"exp": nil}, "no exp"},
		"expired":           {map[string]any{"exp": at(-61 * time.Second)}, "expired"},
		"text as exp":       {map[string]any{"exp": "soon"}, "claims"},
		"too long":          {map[string]any{"exp": at(62 * time.Minute)}, "expires more than"},
		"forever":           {map[string]any{"exp": int64(1) << 52}, "expires more than"},
		"not yet":           {map[string]any{"nbf": at(61 * time.Second)}, "not valid yet"},
		"from the future":   {map[string]any{"iat": at(61 * time.Second)}, "future"},
		"no jti":            {map[string]any{"jti": nil}, "jti"},
		"huge jti":          {map[string]any{"jti": strings.Repeat("j", 513)}, "jti"},
		"no iss":            {map[string]any{"iss": nil}, "iss and sub"},
		"no sub":            {map[string]any{"sub": nil}, "iss and sub"},
		"iss is not sub":    {map[string]any{"iss": "d"}, "iss and sub"},
		"other client":      {map[string]any{"iss": "d", "sub": "d"}, "another client's"},
		"no claims at all":  {map[string]any{"iss": nil, "sub": nil, "aud": nil, "exp": nil, "iat": nil, "jti": nil}, "iss and sub"},
		"overflowing exp":   {map[string]any{"exp": json.Number("1e30")}, ""},
		"negative exp":      {map[string]any{"exp": -1}, "expired"},
		"fractional exp ok": {map[string]any{"exp": json.Number(fmt.Sprintf("%d.5", at(-2*time.Minute)))}, "expired"},
	} {
		w.refused(t, name, oauth.Credentials{ID: "c", Assertion: sign(t, jose.EdDSA, edKey(), "k", w.claims(tt.changes))}, oauth.InvalidClient, tt.want)
	}
	w.refused(t, "not an object", oauth.Credentials{Assertion: sign(t, jose.EdDSA, edKey(), "k", "text")}, oauth.InvalidClient, "claims")
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize))
	w.refused(t, "another key", oauth.Credentials{Assertion: sign(t, jose.EdDSA, other, "k", w.claims(nil))}, oauth.InvalidClient, "not signed")
	for _, garbage := range []string{"x", "a.b", "a.b.c", "....", strings.Repeat("e30.", 3), "{}", `{"payload":"","signatures":[]}`} {
		w.refused(t, garbage, oauth.Credentials{Assertion: garbage}, oauth.InvalidClient, "not a JWT")
	}
}

func TestAssertionOnce(t *testing.T) {
	w := newWorld(t)
	w.add(t, edClient(t))
	token := sign(t, jose.EdDSA, edKey(), "k", w.claims(nil))
	var good atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := w.Authenticate(t.Context(), oauth.Credentials{Assertion: token}, nil); err == nil {
				good.Add(1)
			}
		})
	}
	wg.Wait()
	if good.Load() != 1 {
		t.Errorf("it was good for %d requests", good.Load())
	}
	w.refused(t, "again", oauth.Credentials{Assertion: token}, oauth.InvalidClient, "used before")
	w.refused(t, "same jti", oauth.Credentials{Assertion: sign(t, jose.EdDSA, edKey(), "k", w.claims(map[string]any{"jti": "j", "exp": nil}))}, oauth.InvalidClient, "no exp")
	for i, want := range []string{"", "used before"} {
		token := sign(t, jose.EdDSA, edKey(), "k", w.claims(map[string]any{"jti": "j", "iat": w.now.Unix() - int64(i)}))
		if want == "" {
			if _, err := w.Authenticate(t.Context(), oauth.Credentials{Assertion: token}, nil); err != nil {
				t.Error(err)
			}
			continue
		}
		w.refused(t, "same jti", oauth.Credentials{Assertion: token}, oauth.InvalidClient, want)
	}
}

func TestMethods(t *testing.T) {
	w := newWorld(t)
	secret := model.Client{ID: "s", AuthMethod: oauth.AuthPost, SecretHash: model.Hash("secret")}
	public := model.Client{ID: "p", AuthMethod: oauth.AuthNone}
	keys, either, pinned := edClient(t), edClient(t), edClient(t)
	keys.ID, either.ID, pinned.ID = "k", "e", "r"
	either.AllowNone, pinned.SigningAlg = true, "RS256"
	for _, c := range []model.Client{secret, public, keys, either, pinned} {
		w.add(t, c)
	}
	assertion := func(id string) string {
		return sign(t, jose.EdDSA, edKey(), "k", w.claims(map[string]any{"iss": id, "sub": id}))
	}
	for name, given := range map[string]oauth.Credentials{
		"secret": {ID: "s", Secret: "secret"}, "public": {ID: "p"}, "keys": {ID: "k", Assertion: assertion("k")},
		"either with": {Assertion: assertion("e")}, "either without": {ID: "e"},
	} {
		if _, err := w.Authenticate(t.Context(), given, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.refused(t, "no secret", oauth.Credentials{ID: "s"}, oauth.InvalidClient, "secret is wrong")
	w.refused(t, "secret of a public client", oauth.Credentials{ID: "p", Secret: "x"}, oauth.InvalidClient, "without a secret")
	w.refused(t, "no assertion", oauth.Credentials{ID: "k"}, oauth.InvalidClient, "private_key_jwt")
	w.refused(t, "secret for keys", oauth.Credentials{ID: "k", Secret: "x"}, oauth.InvalidClient, "private_key_jwt")
	w.refused(t, "secret for either", oauth.Credentials{ID: "e", Secret: "x"}, oauth.InvalidClient, "private_key_jwt")
	w.refused(t, "keys for a secret", oauth.Credentials{Assertion: assertion("s")}, oauth.InvalidClient, "client_secret_post")
	w.refused(t, "keys for a public client", oauth.Credentials{Assertion: assertion("p")}, oauth.InvalidClient, "none")
	w.refused(t, "another algorithm", oauth.Credentials{Assertion: assertion("r")}, oauth.InvalidClient, "RS256")
	w.refused(t, "unknown", oauth.Credentials{Assertion: assertion("u")}, oauth.InvalidClient, "not registered")
	w.refused(t, "unknown", oauth.Credentials{ID: "u"}, oauth.InvalidClient, "not registered")
}

// TestChatGPT follows a document with a jwks_uri from the consent to the token
// endpoint, through a change of keys and a failing server.
func TestChatGPT(t *testing.T) {
	const id, keysAt = "https://chatgpt.com/oauth/AbC_123/client.json", "https://chatgpt.com/oauth/jwks.json"
	w := newWorld(t)
	key := func() (*rsa.PrivateKey, string) {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		return k, rand.Text()
	}
	first, firstID := key()
	w.web.JSON(keysAt, jwks(t, jose.JSONWebKey{Key: first.Public(), KeyID: firstID, Use: "sig", Algorithm: "RS256"}))
	w.web.JSON(id, `{"client_id":"`+id+`","client_name":"ChatGPT","redirect_uris":["https://chatgpt.com/connector/oauth/AbC_123"],
		"token_endpoint_auth_method":"private_key_jwt","token_endpoint_auth_methods_supported":["none","private_key_jwt"],"token_endpoint_auth_signing_alg":"RS256","jwks_uri":"`+keysAt+`"}`)
	c, err := w.Find(t.Context(), id)
	if err != nil || w.Keep(t.Context(), c) != nil {
		t.Fatal(err)
	}
	try := func(k *rsa.PrivateKey, kid string) error {
		_, err := w.Authenticate(t.Context(), oauth.Credentials{ID: id, Assertion: sign(t, jose.RS256, k, kid, w.claims(map[string]any{"iss": id, "sub": id}))}, nil)
		return err
	}
	if err := try(first, firstID); err != nil {
		t.Error(err)
	}
	second, secondID := key()
	w.web.JSON(keysAt, jwks(t, jose.JSONWebKey{Key: second.Public(), KeyID: secondID}))
	w.now = w.now.Add(2 * time.Minute)
	if err := try(second, secondID); err != nil {
		t.Errorf("a new key: %v", err)
	}
	if err := try(first, firstID); err == nil {
		t.Error("a key that was withdrawn is still good")
	}
	w.web.Handle(keysAt, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) })
	w.now = w.now.Add(time.Hour)
	if err := try(second, secondID); err != nil {
		t.Errorf("while the key server fails: %v", err)
	}
	w.now = w.now.Add(48 * time.Hour)
	var refused *oauth.Error
	if err := try(second, secondID); !errors.As(err, &refused) || refused.Code != oauth.InvalidRequest || refused.Status() != 400 {
		t.Errorf("keys that cannot be read: %v", err)
	}
	if _, err := w.Authenticate(t.Context(), oauth.Credentials{ID: id}, nil); err != nil {
		t.Errorf("without an assertion: %v", err)
	}
}

func TestKeysInsideADocument(t *testing.T) {
	const id = "https://app.example/client.json"
	w := newWorld(t)
	publish := func(key ed25519.PrivateKey) {
		w.web.JSON(id, `{"client_id":"`+id+`","redirect_uris":["https://app.example/cb"],"token_endpoint_auth_method":"private_key_jwt","jwks":`+jwks(t, jose.JSONWebKey{Key: key.Public()})+`}`)
	}
	publish(edKey())
	c, err := w.Find(t.Context(), id)
	if err != nil || w.Keep(t.Context(), c) != nil {
		t.Fatal(err)
	}
	try := func(key ed25519.PrivateKey) error {
		_, err := w.Authenticate(t.Context(), oauth.Credentials{Assertion: sign(t, jose.EdDSA, key, "", w.claims(map[string]any{"iss": id, "sub": id}))}, nil)
		return err
	}
	next := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed25519.SeedSize))
	publish(next)
	w.now = w.now.Add(time.Hour)
	if err := try(next); err != nil {
		t.Errorf("a new key: %v", err)
	}
	if try(edKey()) == nil {
		t.Error("the old key is still good")
	}
	w.web.Handle(id, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(404) })
	w.now = w.now.Add(time.Hour)
	if err := try(edKey()); err != nil {
		t.Errorf("what was stored at the consent: %v", err)
	}
}

func FuzzAssertion(f *testing.F) {
	w := newWorld(f)
	w.add(f, edClient(f))
	f.Add(sign(f, jose.EdDSA, edKey(), "k", w.claims(map[string]any{"jti": "1"})))
	f.Add(sign(f, jose.EdDSA, edKey(), "", w.claims(map[string]any{"jti": "2", "aud": []string{issuer}})))
	f.Add(sign(f, jose.HS256, bytes.Repeat([]byte("k"), 32), "k", w.claims(nil)))
	f.Add("eyJhbGciOiJub25lIn0.eyJpc3MiOiJjIiwic3ViIjoiYyJ9.")
	f.Add("eyJhbGciOiJFZERTQSIsImNyaXQiOlsieCJdLCJ4IjoxfQ.e30.AA")
	f.Add(`{"payload":"e30","signatures":[{"protected":"eyJhbGciOiJFZERTQSJ9","signature":"AA"}]}`)
	f.Fuzz(func(t *testing.T, assertion string) {
		_, err := w.Authenticate(t.Context(), oauth.Credentials{Assertion: assertion}, nil)
		var refused *oauth.Error
		if err != nil {
			if !errors.As(err, &refused) || refused.Status() >= 500 {
				t.Errorf("%v", err)
			}
			return
		}
		signed, signature, _ := cutLast(assertion)
		raw, err := base64.RawURLEncoding.DecodeString(signature)
		if err != nil || !ed25519.Verify(edKey().Public().(ed25519.PublicKey), []byte(signed), raw) {
			t.Errorf("%q is accepted", assertion)
		}
	})
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}
