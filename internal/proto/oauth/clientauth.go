package oauth

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
)

// Client authentication methods (RFC 7591 §2, OpenID Connect Core §9).
const (
	AuthNone       = "none"
	AuthBasic      = "client_secret_basic"
	AuthPost       = "client_secret_post"
	AuthPrivateKey = "private_key_jwt"
)

// AssertionType is the client_assertion_type of a JWT (RFC 7523 §2.2).
const AssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// maxAssertion bounds a client assertion in bytes.
const maxAssertion = 16 << 10

// AuthMethods lists what the token endpoint takes, for metadata.
func AuthMethods() []string { return []string{AuthNone, AuthPost, AuthBasic, AuthPrivateKey} }

// HasSecret reports whether clients of that method have a secret.
func HasSecret(method string) bool { return method == AuthBasic || method == AuthPost }

// SigningAlgs lists the JWS algorithms that a client may sign its assertions
// with (RFC 7518 §3.1, RFC 8037 §3.1): asymmetric ones only.
func SigningAlgs() []string { return []string{"RS256", "PS256", "ES256", "EdDSA"} }

// Credentials are what a client authenticates with. A public client has
// neither secret nor assertion. They print redacted.
type Credentials struct {
	ID        string // with an assertion maybe empty: the assertion names the client
	Secret    string
	Assertion string // JWT, not looked at yet
}

// Format hides the secret, whatever the verb.
func (c Credentials) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "Credentials(%s, redacted)", c.ID) }

// ParseCredentials reads the client's credentials from the Authorization header
// and the form (RFC 6749 §2.3.1, RFC 7521 §4.2). The id may be in either; what
// is in both must agree. More than one method at once is refused (RFC 6749
// §2.3).
func ParseCredentials(authorization string, p Params) (Credentials, *Error) {
	c := Credentials{ID: p.Get("client_id"), Secret: p.Get("client_secret")}
	var refused *Error
	if c.Assertion, refused = parseAssertion(p); refused != nil {
		return Credentials{}, refused
	}
	if c.Assertion != "" && (authorization != "" || c.Secret != "") {
		return Credentials{}, Errorf(InvalidRequest, "the request authenticates the client in two ways; use one")
	}
	if authorization != "" {
		id, secret, ok := parseBasic(authorization)
		if !ok {
			return Credentials{}, Errorf(InvalidClient, "the Authorization header is not a valid Basic credential")
		}
		if c.ID != "" && c.ID != id || c.Secret != "" && c.Secret != secret {
			return Credentials{}, Errorf(InvalidRequest, "the Authorization header and the form name different clients")
		}
		c = Credentials{ID: id, Secret: secret}
	}
	if c.ID == "" && c.Assertion == "" {
		return Credentials{}, Errorf(InvalidClient, "client_id is missing")
	}
	return c, nil
}

func parseAssertion(p Params) (string, *Error) {
	kind, assertion := p.Get("client_assertion_type"), p.Get("client_assertion")
	switch {
	case kind == "" && assertion == "":
		return "", nil
	case kind != AssertionType:
		return "", Errorf(InvalidClient, "client_assertion_type %q is not supported; use %s", kind, AssertionType)
	case assertion == "":
		return "", Errorf(InvalidRequest, "client_assertion is missing")
	case len(assertion) > maxAssertion:
		return "", Errorf(InvalidClient, "client_assertion is longer than %d bytes", maxAssertion)
	}
	return assertion, nil
}

// parseBasic reads id and secret, which RFC 6749 wants form-encoded and some
// clients send raw. Ids and secrets made here read the same either way.
func parseBasic(header string) (id, secret string, ok bool) {
	scheme, rest, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest))
	if err != nil {
		return "", "", false
	}
	id, secret, ok = strings.Cut(string(raw), ":")
	return unescape(id), unescape(secret), ok && id != ""
}

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}
