package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/localhost"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forge"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

// publicURL checks the origin that clients use. OAuth 2.1 §1.5 wants https; a
// loopback origin may be http (RFC 8252 §7.3).
func (l *loader) publicURL() *url.URL {
	const name = prefix + "PUBLIC_URL"
	if l.raw.PublicURL == "" {
		l.fault("%s is missing; set the URL under which clients reach this broker, such as https://mcp.example.org", name)
		return nil
	}
	u := l.httpURL(name, l.raw.PublicURL)
	if u != nil && u.Scheme == "http" && !localhost.Loopback(u.Hostname()) {
		l.fault("%s=%q: want https; http is allowed on loopback only", name, l.raw.PublicURL)
		return nil
	}
	return u
}

// forgejoURL checks the forge's URL. forgejo-mcp bypasses every proxy for a
// literal loopback host; a session can still answer there itself, but only on a
// network of its own and on a port that needs no privilege.
func (l *loader) forgejoURL(launcher string) *url.URL {
	const name = prefix + "FORGEJO_URL"
	if l.raw.ForgejoURL == "" {
		l.fault("%s is missing; set the public URL of the forge, such as https://git.example.org", name)
		return nil
	}
	u := l.httpURL(name, l.raw.ForgejoURL)
	if u == nil || !localhost.Literal(u.Hostname()) {
		return u
	}
	port, _ := strconv.Atoi(u.Port())
	if launcher == LauncherSystemd && u.Scheme == "http" && port >= 1024 {
		return u
	}
	cure := *u
	cure.Host = strings.TrimSuffix("forgejo.localhost:"+u.Port(), ":")
	l.fault("%s=%q: forgejo-mcp reaches a literal loopback host past the proxy that holds the token; set it, and ROOT_URL of "+
		"the forge, to %s (names under .localhost mean loopback)", name, l.raw.ForgejoURL, cure.String())
	return nil
}

// forgejoUser: who listens is checked by fjmcp-egress.service, which only the systemd
// launcher has.
func (l *loader) forgejoUser(launcher string) {
	if l.raw.ForgejoUser == "" {
		return
	}
	if _, err := forge.OwnerUID(l.raw.ForgejoUser); err != nil {
		l.fault("%sFORGEJO_USER: %v", prefix, err)
	}
	if launcher != LauncherSystemd {
		l.fault("%sFORGEJO_USER=%q: only for %sLAUNCHER=systemd; remove it, or have the forge listen on a unix socket and name that in %sFORGEJO_SOCKET", prefix, l.raw.ForgejoUser, prefix, prefix)
	}
}

// ForgeWay is how the broker's own connections reach the forge: by a unix socket, or by
// its URL where that is "". plaintext says that no TLS is spoken there. Where the units
// check who the forge is, it goes the sessions' way.
func (c *Config) ForgeWay() (socket string, plaintext bool) {
	if c.Launcher == LauncherSystemd && (c.ForgejoSocket != "" || c.ForgejoUser != "") {
		return forge.EgressSocket, c.ForgejoSocket != ""
	}
	return c.ForgejoSocket, c.ForgejoSocket != ""
}

// ForgeCanBeReplaced reports whether any local user could take the forge's place while
// that is stopped, and be sent tokens: its port needs no privilege, and neither a
// certificate nor FORGEJO_USER tells who listens.
func (c *Config) ForgeCanBeReplaced() bool {
	port, _ := strconv.Atoi(forge.Port(c.ForgejoURL))
	return c.ForgejoURL.Scheme == "http" && localhost.Loopback(c.ForgejoURL.Hostname()) && port >= 1024 &&
		c.ForgejoSocket == "" && c.ForgejoUser == ""
}

// clientProxy checks the proxy through which what clients publish is fetched.
func (l *loader) clientProxy() *url.URL {
	const name = prefix + "CLIENT_METADATA_PROXY"
	if l.raw.ClientProxy == "" {
		return nil
	}
	u := l.httpURL(name, l.raw.ClientProxy)
	if u != nil && u.Path != "" {
		l.fault("%s=%q: want a proxy alone, such as http://proxy.example.org:3128", name, l.raw.ClientProxy)
	}
	return u
}

func (l *loader) httpURL(name, value string) *url.URL {
	u, err := forge.ParseURL(value)
	if err == nil {
		return u
	}
	if !strings.Contains(value, "@") { // else it may hold a password
		name += fmt.Sprintf("=%q", value)
	}
	l.fault("%s: %v", name, err)
	return nil
}

func listed(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(", \t", r) })
}

// allowedOrigins checks the origins (RFC 6454 §6.2) that may use the endpoint: of web
// pages, in the form that browsers send, and of extensions and apps, as they are written.
func (l *loader) allowedOrigins() []string {
	const name = prefix + "ALLOWED_ORIGINS"
	var origins []string
	for _, value := range listed(l.raw.AllowedOrigins) {
		u, err := url.Parse(value)
		switch {
		case value == "null":
			l.fault("%s: %q: any page can have this origin, in a frame or a file; it cannot be allowed", name, value)
		case strings.Contains(value, "*"):
			l.fault("%s: %q: want each origin by its name; there is no wildcard", name, value)
		case err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "" || u.User != nil:
			l.fault("%s: %q: want an origin such as https://app.example.org or app://obsidian.md", name, value)
		case u.Scheme == "http":
			l.fault("%s: %q: want https; pages served from loopback are allowed without being named", name, value)
		case slices.Contains(noOrigin, u.Scheme):
			l.fault("%s: %q: %s has no origins; want one such as https://app.example.org or app://obsidian.md", name, value, u.Scheme)
		case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
			l.fault("%s: %q: want the origin alone, %s://%s", name, value, u.Scheme, u.Host)
		case u.Scheme == "https":
			forge.Normalize(u)
			origins = append(origins, u.Scheme+"://"+u.Host)
		default:
			origins = append(origins, u.Scheme+"://"+u.Host) // a host's letters mean something there
		}
	}
	return origins
}

// noOrigin are schemes whose pages send no origin of their own, or another's.
var noOrigin = []string{"about", "blob", "data", "file", "filesystem", "ftp", "javascript", "view-source", "ws", "wss"}

// redirectSchemes checks the schemes of apps that logins may return to.
func (l *loader) redirectSchemes() (schemes oauth.Schemes) {
	for _, value := range listed(l.raw.RedirectSchemes) {
		if err := oauth.CheckScheme(value); err != nil {
			l.fault("%s: %q: %v", oauth.SchemesSetting, value, err)
			continue
		}
		schemes = append(schemes, value)
	}
	return schemes
}

// trustedProxies checks the addresses and networks whose X-Forwarded-For counts.
func (l *loader) trustedProxies() []netip.Prefix {
	const name = prefix + "TRUSTED_PROXIES"
	var list []netip.Prefix
	for _, value := range listed(l.raw.TrustedProxies) {
		p, err := netip.ParsePrefix(value)
		if err != nil {
			var addr netip.Addr
			if addr, err = netip.ParseAddr(value); err == nil {
				p = netip.PrefixFrom(addr, addr.BitLen())
			}
		}
		switch {
		case err != nil || p.Addr().Is4In6() || p.Addr().Zone() != "":
			l.fault("%s: %q: want IP addresses or networks such as 127.0.0.1 or 10.0.0.0/8", name, value)
		case p.Bits() == 0:
			l.fault("%s: %q: trusts everyone, so that anyone could choose the address that counts; name the reverse proxies", name, value)
		default:
			list = append(list, p.Masked())
		}
	}
	return list
}
