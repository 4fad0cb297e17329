package oauth

import "net/url"

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
