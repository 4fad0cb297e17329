package oauth

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// PathCallback is where the forge sends users back to, below the public URL.
const PathCallback = "/oauth/callback"

// apps are private-use schemes without a dot that well-known clients register, against
// RFC 8252 §7.1, and whose they are. docs/clients.md says where each was seen.
var apps = map[string]string{
	"antigravity-ide": "Antigravity", "claude": "Claude", "cursor": "Cursor", "goose": "Goose", "positron": "Positron",
	"raycast": "Raycast", "systemprompt": "systemprompt", "trae": "Trae", "vscode": "Visual Studio Code",
	"vscode-insiders": "Visual Studio Code", "vscodium": "VSCodium", "warp": "Warp", "windsurf": "Windsurf", "zed": "Zed",
}

// AppOf names the well-known app that a redirect URI's scheme is of, "" if there is none.
func AppOf(scheme string) string { return apps[scheme] }

// maxRedirectURI bounds a redirect URI in bytes.
const maxRedirectURI = 2048

// Schemes are private-use schemes, in lower case, that redirect URIs may have besides
// those of well-known apps and reversed domain names: what the operator allows.
type Schemes []string

// SchemesSetting is the setting that Schemes come from.
const SchemesSetting = "FJMCP_BROKER_REDIRECT_SCHEMES"

// Validate says why a redirect URI cannot be registered, or nil. The reason does not
// repeat the URI.
//
// Accepted: https; http on loopback; a private-use scheme that is a reversed
// domain name (RFC 8252 §7.1), a well-known app's or one of s. OIDC's rules for
// application_type are not applied: clients state it at random.
func (s Schemes) Validate(raw string) error {
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
	if !printable(u.Host) { // it was percent-encoded, and is shown to people
		return errors.New("its host is outside ASCII; write it in punycode")
	}
	switch u.Scheme {
	case "":
		return errors.New("it is not absolute")
	case "https", "http":
		return validateHTTP(u)
	}
	return s.validateScheme(u.Scheme)
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

func (s Schemes) validateScheme(scheme string) error {
	if apps[scheme] != "" || slices.Contains(s, scheme) {
		return nil
	}
	if first, _, ok := strings.Cut(scheme, "."); ok && first != "" && !strings.HasSuffix(scheme, ".") {
		return nil
	}
	if taken(scheme) {
		return fmt.Errorf("the scheme %.40q belongs to browsers and systems", scheme)
	}
	return fmt.Errorf("the scheme %.40q is neither https, nor a reversed domain name (RFC 8252 section 7.1), nor a known app's; "+
		"the operator can allow it with %s", scheme, SchemesSetting)
}

// CheckScheme says why a private-use scheme cannot be allowed, or nil.
func CheckScheme(scheme string) error {
	u, err := url.Parse(scheme + ":x") // RFC 3986 §3.1 is url.Parse's to know
	switch {
	case err != nil || u.Scheme != scheme:
		return errors.New("want a scheme in lower case and nothing else, such as warp")
	case taken(scheme):
		return errors.New("want the scheme of an app; browsers and systems have a meaning for this one")
	}
	return nil
}

// taken reports whether a scheme has a meaning beyond one app: a browser loads, runs or
// shows what it leads to (WHATWG Fetch, scheme fetch; URL, special schemes), any web page
// may claim it (HTML, registerProtocolHandler), or it starts parts of the system.
func taken(scheme string) bool {
	return slices.ContainsFunc(takenPrefixes, func(p string) bool { return strings.HasPrefix(scheme, p) }) || slices.Contains(strings.Fields(takenSchemes), scheme)
}

const takenSchemes = `http https ws wss file data javascript vbscript blob filesystem about view-source jar mhtml resource
	content intent android-app devtools edge opera brave vivaldi shell search-ms cid mid telnet ldap
	bitcoin ftp ftps geo im irc ircs magnet mailto matrix mms news nntp openpgp4fpr sftp sip sms smsto ssh tel urn webcal wtai xmpp`

var takenPrefixes = []string{"web+", "ext+", "ms-", "chrome", "moz-", "safari-", "x-apple", "x-safari"}

// IsLoopback reports whether host, without port, is 127.0.0.1, ::1 or
// localhost: the hosts a native client listens on (RFC 8252 §7.3, §8.3).
func IsLoopback(host string) bool {
	return host == "127.0.0.1" || host == "::1" || strings.EqualFold(host, "localhost")
}

// Match reports whether given is one of the registered URIs: byte for byte, or on
// loopback with any port (RFC 8252 §7.3).
func (s Schemes) Match(registered []string, given string) bool {
	if slices.Contains(registered, given) {
		return s.Validate(given) == nil
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
	if (Schemes{}).Validate(raw) != nil {
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
