package oauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/proto/endpoint"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forge"
)

// Params are the parameters of one authorization or token request.
type Params struct{ values url.Values }

// ParseParams refuses a request that names a parameter twice (RFC 6749 §3.1,
// §3.2). Only resource may be repeated (RFC 8707 §2).
func ParseParams(v url.Values) (Params, *Error) {
	for name, list := range v {
		if len(list) > 1 && name != "resource" {
			return Params{}, Errorf(InvalidRequest, "the parameter %q is given more than once", name)
		}
	}
	return Params{values: v}, nil
}

// Get returns a parameter, "" when absent. Empty and absent are the same
// (RFC 6749 §3.1).
func (p Params) Get(name string) string { return p.values.Get(name) }

// Resources returns the resource indicators that are not empty.
func (p Params) Resources() []string {
	return slices.DeleteFunc(slices.Clone(p.values["resource"]), func(r string) bool { return r == "" })
}

// MatchResource finds the endpoint of the server at issuer that a resource indicator (RFC
// 8707) names. Host case, a default port and one trailing slash are ignored, as clients'
// URL libraries add or drop them.
func MatchResource(issuer, resource string) (endpoint.Path, error) {
	given, ours := canonicalResource(resource)
	server, valid := canonicalResource(issuer)
	path, below := strings.CutPrefix(given, server)
	found, err := endpoint.Parse(path)
	main := endpoint.All()[0].String()
	if !ours || !valid || !below || err != nil && !strings.HasPrefix(path, main+"/") {
		return endpoint.Path{}, fmt.Errorf("this server does not protect the resource %q; use %s", resource, issuer+main)
	}
	return found.Bare(), err
}

// MatchResources picks the endpoint that a request names, the zero value when it names none.
// Of several it is the one that holds all others: a token is for one. A foreign one, and
// several that none of them holds, are invalid_target (RFC 8707 §2).
func MatchResources(issuer string, p Params) (endpoint.Path, *Error) {
	var all []endpoint.Path
	for _, given := range p.Resources() {
		r, err := MatchResource(issuer, given)
		if err != nil {
			return endpoint.Path{}, Errorf(InvalidTarget, "%v", err)
		}
		all = append(all, r)
	}
	for _, r := range all {
		if !slices.ContainsFunc(all, func(o endpoint.Path) bool { return !o.Within(r) }) {
			return r, nil
		}
	}
	if len(all) > 0 {
		return endpoint.Path{}, Errorf(InvalidTarget, "a token is for one resource; name one that holds the others, such as %s", issuer+endpoint.All()[0].String())
	}
	return endpoint.Path{}, nil
}

func canonicalResource(raw string) (string, bool) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || strings.Contains(raw, "#") || u.RawQuery != "" {
		return "", false
	}
	forge.Normalize(u)
	return u.Scheme + "://" + strings.TrimSuffix(u.Host, ":") + u.EscapedPath(), true
}

// S256 is the only PKCE method served (RFC 7636 §4.2).
const S256 = "S256"

// Challenge is the S256 challenge of a verifier.
func Challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// ValidChallenge reports whether c can be an S256 challenge: 43 characters of
// unpadded base64url, as SHA-256 gives them.
func ValidChallenge(c string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(c)
	return err == nil && len(b) == sha256.Size && len(c) == 43
}

var verifierPattern = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

// ValidVerifier reports whether v is a code_verifier by RFC 7636 §4.1: 43 to 128
// unreserved characters.
func ValidVerifier(v string) bool { return verifierPattern.MatchString(v) }

// VerifyPKCE reports in constant time whether verifier belongs to challenge.
func VerifyPKCE(verifier, challenge string) bool {
	return ValidVerifier(verifier) && subtle.ConstantTimeCompare([]byte(Challenge(verifier)), []byte(challenge)) == 1
}
