package oauth

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// knownSchemes are private-use schemes without a dot that well-known clients
// register, against RFC 8252 §7.1.
var knownSchemes = []string{
	"cursor", "vscode", "vscode-insiders", "vscodium", "windsurf", "zed", "goose", "claude",
}

// maxRedirectURI bounds a redirect URI in bytes.
const maxRedirectURI = 2048

// ValidateRedirectURI says why a redirect URI cannot be registered, or nil. The
// reason does not repeat the URI.
//
// Accepted: https; http on loopback; a private-use scheme that is a reversed
// domain name (RFC 8252 §7.1) or a known client's. OIDC's rules for
// application_type are not applied: clients state it at random.
func ValidateRedirectURI(raw string) error {
	if len(raw) > maxRedirectURI {
		return fmt.Errorf("it is longer than %d bytes", maxRedirectURI)
	}
	if !printable(raw) {
		return errors.New("it has a space, a control character or one outside ASCII")
	}
	if strings.Contains(raw, "#") {
		return errors.New("it has a fragment (RFC 6749 section 3.1.2)")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return errors.New("it is not a URI")
	}
	if u.User != nil {
		return errors.New("it has a user name")
	}
	switch u.Scheme {
	case "":
		return errors.New("it is not absolute")
	case "https", "http":
		return validateHTTP(u)
	}
	return validateScheme(u.Scheme)
}

// printable reports whether s is of the characters that URLs are made of, near
// enough: ASCII without space, control characters and backslash.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' })
}

func validateHTTP(u *url.URL) error {
	if u.Hostname() == "" || u.Opaque != "" {
		return errors.New("it has no host")
	}
	if u.Scheme == "http" && !IsLoopback(u.Hostname()) {
		return errors.New("http is only for loopback hosts; use https")
	}
	return nil
}

func validateScheme(scheme string) error {
	if slices.Contains(knownSchemes, scheme) {
		return nil
	}
	if first, _, ok := strings.Cut(scheme, "."); ok && first != "" && !strings.HasSuffix(scheme, ".") {
		return nil
	}
	return fmt.Errorf("the scheme %q is neither https nor a reversed domain name like com.example.app (RFC 8252 section 7.1)", scheme)
}

// IsLoopback reports whether host, without port, is 127.0.0.1, ::1 or
// localhost: the hosts a native client listens on (RFC 8252 §7.3, §8.3).
func IsLoopback(host string) bool {
	return host == "127.0.0.1" || host == "::1" || strings.EqualFold(host, "localhost")
}

// MatchRedirectURI reports whether given is one of the registered URIs: byte for
// byte, or on loopback with any port (RFC 8252 §7.3).
func MatchRedirectURI(registered []string, given string) bool {
	if slices.Contains(registered, given) {
		return ValidateRedirectURI(given) == nil
	}
	want, ok := portless(given)
	if !ok {
		return false
	}
	return slices.ContainsFunc(registered, func(r string) bool {
		have, ok := portless(r)
		return ok && have == want
	})
}

// portless returns a loopback redirect URI without its port. Nothing else is
// normalised but an empty path, which is the same as "/" in http.
func portless(raw string) (string, bool) {
	if ValidateRedirectURI(raw) != nil {
		return "", false
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" || !IsLoopback(u.Hostname()) {
		return "", false
	}
	_, rest, _ := strings.Cut(raw, "://")
	rest = rest[len(u.Host):]
	if rest == "" || rest[0] == '?' {
		rest = "/" + rest
	}
	return u.Hostname() + rest, true
}

// RedirectHost says for people where a redirect URI leads: the host with its
// port, or the scheme of an app's own.
func RedirectHost(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	if u.Scheme == "https" || u.Scheme == "http" {
		return u.Host
	}
	if u.Host == "" {
		return u.Scheme + ":"
	}
	return u.Scheme + "://" + u.Host
}

// RedirectsToLoopback reports whether the redirect URI leads to a program on
// the user's own machine by way of a loopback port.
func RedirectsToLoopback(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Scheme == "http" && IsLoopback(u.Hostname())
}

// WithParams adds parameters to the query of a redirect URI and leaves the rest
// of its bytes alone.
func WithParams(redirect string, params url.Values) string {
	sep := "?"
	if strings.Contains(redirect, "?") {
		sep = "&"
	}
	return redirect + sep + params.Encode()
}
