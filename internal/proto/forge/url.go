package forge

import (
	"errors"
	"net/url"
	"strings"
)

// EgressSocket is where fjmcp-egress.service takes connections to the forge.
const EgressSocket = "/run/fjmcp-private/egress/egress.sock"

// ParseURL reads the URL of a forge, or of the broker itself: http or https, with a host
// and maybe a path. The result has its host in lower case, no default port and no slash
// at its end. The error says what would be right and does not repeat raw, which may hold
// a password.
func ParseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, errors.New("not a URL")
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return nil, errors.New("want an absolute URL such as https://host.example.org")
	case u.User != nil:
		return nil, errors.New("must not carry a user name or password")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("must not carry a query or fragment")
	case strings.Contains(u.Path, "//") || strings.Contains(u.Path, "/../") || u.RawPath != "":
		return nil, errors.New("want a plain path without empty, dot or escaped segments")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	Normalize(u)
	return u, nil
}

// Normalize gives scheme and host of u the form of an origin (RFC 6454 §6.2): the host
// in lower case, without the scheme's own port.
func Normalize(u *url.URL) {
	u.Host = strings.ToLower(u.Host)
	if port := u.Port(); port != "" && port == defaultPorts[u.Scheme] {
		u.Host = strings.TrimSuffix(u.Host, ":"+port)
	}
}

var defaultPorts = map[string]string{"http": "80", "https": "443"}

// Port is the port that u leads to, "" for a scheme other than http and https without
// one.
func Port(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	return defaultPorts[u.Scheme]
}
