package oauth

import (
	"net/url"
	"strings"

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
	var list []string
	for _, r := range p.values["resource"] {
		if r != "" {
			list = append(list, r)
		}
	}
	return list
}

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
	forge.Normalize(u)
	return u.Scheme + "://" + strings.TrimSuffix(u.Host, ":") + strings.TrimSuffix(u.EscapedPath(), "/"), true
}
