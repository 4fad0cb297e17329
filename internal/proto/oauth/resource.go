package oauth

import (
	"net/url"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/proto/forge"
)

// MatchResource finds the endpoint URL that a resource indicator (RFC 8707)
// names. Host case, a default port and one trailing slash are ignored, as
// clients' URL libraries add or drop them.
func MatchResource(endpoints []string, resource string) (string, bool) {
	want, ok := canonicalResource(resource)
	if !ok {
		return "", false
	}
	for _, e := range endpoints {
		if have, ok := canonicalResource(e); ok && have == want {
			return e, true
		}
	}
	return "", false
}

// MatchResources picks the endpoint that a request names, "" when it names none.
// A foreign one is invalid_target (RFC 8707 §2).
func MatchResources(endpoints []string, p Params) (string, *Error) {
	var found string
	for _, given := range p.Resources() {
		r, ok := MatchResource(endpoints, given)
		if !ok {
			return "", Errorf(InvalidTarget, "this server does not protect the resource %q; use %s", given, endpoints[0])
		}
		found = r
	}
	return found, nil
}

func canonicalResource(raw string) (string, bool) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || strings.Contains(raw, "#") || u.RawQuery != "" {
		return "", false
	}
	return u.Scheme + "|" + strings.ToLower(u.Hostname()) + "|" + forge.Port(u) + "|" + strings.TrimSuffix(u.EscapedPath(), "/"), true
}
