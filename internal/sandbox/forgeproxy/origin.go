package forgeproxy

import (
	"net/url"
	"path"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/proto/forge"
)

// origin is the one place requests may go to: scheme, host, port and, where the
// forge lives below a path, that path.
type origin struct {
	url    *url.URL
	scheme string
	host   string // host:port in lower case, the port always there
	prefix string // "" or "/path", escaped
}

func newOrigin(u *url.URL) origin {
	return origin{
		url:    u,
		scheme: u.Scheme,
		host:   authority(u),
		prefix: strings.TrimSuffix(path.Clean("/"+u.EscapedPath()), "/"),
	}
}

// String is the forge's URL as messages show it.
func (o origin) String() string { return o.scheme + "://" + o.url.Host }

// is reports whether scheme and hostport (with or without port) are this origin.
func (o origin) is(scheme, hostport string) bool {
	return scheme == o.scheme && authority(&url.URL{Scheme: scheme, Host: hostport}) == o.host
}

// within returns the part of an escaped path that lies below the forge's own.
func (o origin) within(escaped string) (string, bool) {
	path, ok := strings.CutPrefix(escaped, o.prefix)
	return path, ok && strings.HasPrefix(path, "/")
}

func authority(u *url.URL) string { return strings.ToLower(u.Hostname()) + ":" + forge.Port(u) }
