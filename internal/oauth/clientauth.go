package oauth

import (
	"encoding/base64"
	"net/url"
	"strings"
)

// Client authentication methods (RFC 7591 §2).
const (
	AuthNone  = "none"
	AuthBasic = "client_secret_basic"
	AuthPost  = "client_secret_post"
)

// AuthMethods lists what the token endpoint takes, for metadata.
func AuthMethods() []string { return []string{AuthNone, AuthPost, AuthBasic} }

// Credentials are what a client authenticates with. Secret is empty for a
// public client. They print redacted.
type Credentials struct {
	ID     string
	Secret string
	Basic  bool // came in the Authorization header
}

// String hides the secret.
func (c Credentials) String() string { return "Credentials(" + c.ID + ", redacted)" }

// GoString hides the secret.
func (c Credentials) GoString() string { return c.String() }

// ParseCredentials reads the client's credentials from the Authorization header
// and the form (RFC 6749 §2.3.1). The id may be in either; what is in both must
// agree.
func ParseCredentials(authorization string, p Params) (Credentials, *Error) {
	c := Credentials{ID: p.Get("client_id"), Secret: p.Get("client_secret")}
	if authorization != "" {
		id, secret, ok := parseBasic(authorization)
		if !ok {
			return Credentials{}, Errorf(InvalidClient, "the Authorization header is not a valid Basic credential")
		}
		if c.ID != "" && c.ID != id || c.Secret != "" && c.Secret != secret {
			return Credentials{}, Errorf(InvalidRequest, "the Authorization header and the form name different clients")
		}
		c = Credentials{ID: id, Secret: secret, Basic: true}
	}
	if c.ID == "" {
		return Credentials{}, Errorf(InvalidClient, "client_id is missing")
	}
	return c, nil
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
