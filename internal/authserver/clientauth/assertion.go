package clientauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/clientmeta"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

const (
	skew        = time.Minute // between the client's clock and ours
	maxLifetime = time.Hour   // of an assertion, from now on; bounds the table of used ones
	maxID       = 512         // bytes of jti
)

// claims of an assertion (RFC 7523 §3).
type claims = jwt.Claims

// byAssertion authenticates a client by private_key_jwt.
func (c *Clients) byAssertion(ctx context.Context, given oauth.Credentials, find finder) (model.Client, error) {
	token, id, refused := parse(given)
	if refused != nil {
		return model.Client{}, refused
	}
	client, err := c.withKeys(ctx, id, find)
	if err != nil {
		return client, err
	}
	if client.AuthMethod != oauth.AuthPrivateKey {
		return client, oauth.Errorf(oauth.InvalidClient, "this client was registered with %s, not with %s", client.AuthMethod, oauth.AuthPrivateKey)
	}
	header := token.Headers[0]
	if client.SigningAlg != "" && client.SigningAlg != header.Algorithm {
		return client, oauth.Errorf(oauth.InvalidClient, "client_assertion is signed with %s; this client registered %s",
			header.Algorithm, client.SigningAlg)
	}
	keys, err := c.cfg.Documents.Keys(ctx, client, header.KeyID)
	var failure *clientmeta.Error
	if errors.As(err, &failure) {
		// Not invalid_client, on which clients throw away what they have.
		return client, oauth.Errorf(oauth.InvalidRequest, "the client's key set cannot be used: %s", failure.Reason)
	}
	if err != nil {
		return client, err
	}
	verified, ok := verify(token, keys)
	if !ok {
		return client, oauth.Errorf(oauth.InvalidClient, "client_assertion is not signed with a key of this client")
	}
	if refused := c.check(verified); refused != nil {
		return client, refused
	}
	return client, c.useOnce(ctx, verified)
}

// parse reads an assertion without believing it, and which client it names.
func parse(given oauth.Credentials) (*jwt.JSONWebToken, string, *oauth.Error) {
	var algs []jose.SignatureAlgorithm
	for _, alg := range oauth.SigningAlgs() {
		algs = append(algs, jose.SignatureAlgorithm(alg))
	}
	token, err := jwt.ParseSigned(given.Assertion, algs)
	if err != nil || len(token.Headers) != 1 {
		return nil, "", oauth.Errorf(oauth.InvalidClient, "client_assertion is not a JWT signed with one of %s", strings.Join(oauth.SigningAlgs(), ", "))
	}
	var stated claims
	if err := token.UnsafeClaimsWithoutVerification(&stated); err != nil {
		return nil, "", oauth.Errorf(oauth.InvalidClient, "client_assertion has no valid claims")
	}
	switch {
	case stated.Subject == "" || stated.Issuer != stated.Subject:
		return nil, "", oauth.Errorf(oauth.InvalidClient, "iss and sub of client_assertion must both be the client_id")
	case given.ID != "" && given.ID != stated.Subject:
		return nil, "", oauth.Errorf(oauth.InvalidClient, "client_assertion is another client's than client_id")
	}
	return token, stated.Subject, nil
}

// A finder is stored, or takes its place.
type finder func(ctx context.Context, id string) (model.Client, error)

// withKeys returns a client that find finds. If its keys are inside a metadata
// document, the document is asked whether there are new ones.
func (c *Clients) withKeys(ctx context.Context, id string, find finder) (model.Client, error) {
	client, err := find(ctx, id)
	if err != nil || client.Kind != model.ClientDocument || client.JWKS == "" || c.cfg.Documents == nil {
		return client, err
	}
	if published, err := c.cfg.Documents.Client(ctx, id); err == nil {
		return published, nil
	}
	return client, nil
}

// verify returns the claims if one of the keys made the signature.
func verify(token *jwt.JSONWebToken, keys []jose.JSONWebKey) (claims, bool) {
	for _, k := range keys {
		if k.Algorithm != "" && k.Algorithm != token.Headers[0].Algorithm {
			continue
		}
		var verified claims
		if token.Claims(k.Key, &verified) == nil {
			return verified, true
		}
	}
	return claims{}, false
}

// check holds the claims against RFC 7523 §3. An audience besides ours is
// refused: whoever else is addressed could use the assertion here.
func (c *Clients) check(v claims) *oauth.Error {
	now := c.cfg.Now()
	foreign := func(a string) bool { return !slices.Contains(c.cfg.Audiences, a) }
	switch {
	case len(v.Audience) == 0 || slices.ContainsFunc(v.Audience, foreign):
		return oauth.Errorf(oauth.InvalidClient, "aud of client_assertion must be %s", c.cfg.Audiences[0])
	case v.Expiry == nil:
		return oauth.Errorf(oauth.InvalidClient, "client_assertion has no exp")
	case now.After(v.Expiry.Time().Add(skew)):
		return oauth.Errorf(oauth.InvalidClient, "client_assertion has expired")
	case v.Expiry.Time().After(now.Add(maxLifetime + skew)):
		return oauth.Errorf(oauth.InvalidClient, "client_assertion expires more than %s from now", maxLifetime)
	case v.NotBefore != nil && v.NotBefore.Time().After(now.Add(skew)):
		return oauth.Errorf(oauth.InvalidClient, "client_assertion is not valid yet")
	case v.IssuedAt != nil && v.IssuedAt.Time().After(now.Add(skew)):
		return oauth.Errorf(oauth.InvalidClient, "client_assertion was issued in the future")
	case v.ID == "" || len(v.ID) > maxID:
		return oauth.Errorf(oauth.InvalidClient, "client_assertion needs a jti of at most %d bytes", maxID)
	}
	return nil
}

// useOnce refuses an assertion that was used before, at whichever process.
func (c *Clients) useOnce(ctx context.Context, v claims) error {
	key := sha256.Sum256([]byte(v.Subject + "\n" + v.ID))
	first, err := c.cfg.Store.UseAssertion(ctx, key[:], v.Expiry.Time().Add(skew))
	if err == nil && !first {
		return oauth.Errorf(oauth.InvalidClient, "client_assertion was used before; make a new one for every request")
	}
	return err
}
