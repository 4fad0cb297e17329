package config

import (
	"cmp"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forge"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

// maxSiteName is in characters: it stands beside the title of each page.
const maxSiteName = 40

func (l *loader) siteName() {
	name := l.raw.SiteName
	if name != "" && (oauth.CleanName(name) != name || utf8.RuneCountInString(name) > maxSiteName) {
		l.fault("%sSITE_NAME=%q: want a name of one line and up to %d characters, with a letter or a digit among them and none that cannot be seen", prefix, name, maxSiteName)
	}
}

func (l *loader) clientID() {
	if l.raw.ForgejoClientID == "" {
		base := cmp.Or(strings.TrimRight(l.raw.PublicURL, "/"), "<FJMCP_BROKER_PUBLIC_URL>")
		l.fault("%sFORGEJO_CLIENT_ID is missing; register an OAuth2 application at the forge (Settings → Applications) "+
			"with the redirect URI %s/oauth/callback and set its client ID", prefix, base)
	}
}

func (l *loader) launcher() string {
	switch l.raw.Launcher {
	case LauncherSystemd, LauncherProcess:
		return l.raw.Launcher
	case "":
		if l.booted {
			return LauncherSystemd
		}
		return LauncherProcess
	}
	l.fault("%sLAUNCHER=%q: want %q or %q", prefix, l.raw.Launcher, LauncherSystemd, LauncherProcess)
	return LauncherSystemd
}

// requireLandlock: with the systemd launcher the broker's own process, which is asked,
// says nothing about the units of sessions.
func (l *loader) requireLandlock(launcher string) {
	const name = "REQUIRE_LANDLOCK"
	switch on := l.onOff(name, l.raw.RequireLandlock); {
	case on && launcher == LauncherSystemd:
		l.fault("%s%s=on: only for %sLAUNCHER=process; with systemd each session is kept from files by its unit as well. Remove it", prefix, name, prefix)
	case on && !l.landlock:
		l.fault("%s%s=on: there is no Landlock, so forgejo-mcp could read the database and the secrets; "+
			"run Linux 5.13 or later with landlock among its security modules (/sys/kernel/security/lsm), and in a container a seccomp profile "+
			"that allows landlock_create_ruleset, landlock_add_rule and landlock_restrict_self", prefix, name)
	}
}

func (l *loader) onOff(name, value string) bool {
	if value != "on" && value != "off" {
		l.fault("%s%s=%q: want on or off", prefix, name, value)
	}
	return value == "on"
}

func (l *loader) scopes() []string {
	if l.raw.ForgejoScopes == "" {
		return slices.Clone(forgejo.DefaultScopes)
	}
	scopes := strings.Fields(l.raw.ForgejoScopes)
	if err := forgejo.ValidateScopes(scopes); err != nil {
		l.fault("%sFORGEJO_SCOPES=%q: %s", prefix, l.raw.ForgejoScopes, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return scopes
}

func (l *loader) routes() forgeapi.Policy {
	p, err := forgeapi.ParsePolicy(l.raw.Routes)
	if err != nil {
		l.fault("%s=%q: %v", forgeapi.Variable, l.raw.Routes, err)
	}
	return p
}

func (l *loader) files() {
	for _, f := range []struct{ name, path string }{
		{"FORGEJO_CA_FILE", l.raw.ForgejoCAFile}, {"FORGEJO_SOCKET", l.raw.ForgejoSocket}, {"FORGEJO_MCP", l.raw.ForgejoMCP},
	} {
		if f.path != "" && !filepath.IsAbs(f.path) {
			l.fault("%s%s=%q: want an absolute path", prefix, f.name, f.path)
		}
	}
	if f := l.raw.ForgejoCAFile; filepath.IsAbs(f) {
		if _, err := forge.Roots(f); err != nil {
			l.fault("%sFORGEJO_CA_FILE: %v; want a PEM file with the CA's certificate that the broker's user can read; as a service "+
				"it sees those below /etc, /usr, /opt and /srv", prefix, err)
		}
	}
}

// listen is checked also where sockets are inherited and it is not used: what is
// set is meant. Whether this computer has the address shows only later.
func (l *loader) listen() {
	l.address("LISTEN", l.raw.Listen, "127.0.0.1:8080")
	if l.raw.MetricsListen != "" {
		l.address("METRICS_LISTEN", l.raw.MetricsListen, "127.0.0.1:9464")
	}
}

func (l *loader) address(name, value, example string) {
	host, port, err := net.SplitHostPort(value)
	if err == nil && host != "" && host != "localhost" {
		_, err = netip.ParseAddr(host)
	}
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		l.fault("%s%s=%q: want an IP address or localhost, and a port, such as %s", prefix, name, value, example)
	}
}

// mostCalls is more than any forge answers in a minute.
const mostCalls = 1_000_000

func (l *loader) limits() {
	const day = 24 * time.Hour
	r := &l.raw
	l.within("SESSION_IDLE_TIMEOUT", r.SessionIdleTimeout, time.Second, 7*day)
	l.within("SESSION_MAX_AGE", r.SessionMaxAge, time.Second, 365*day)
	l.within("START_TIMEOUT", r.StartTimeout, launchproto.LeastStartTimeout, launchproto.MostStartTimeout)
	l.within("REQUEST_TIMEOUT", r.RequestTimeout, time.Second, day)
	access := l.within("ACCESS_TOKEN_TTL", r.AccessTokenTTL, time.Minute, 30*day)
	refresh := l.within("REFRESH_TOKEN_TTL", r.RefreshTokenTTL, time.Hour, 10*365*day)
	if access && refresh && r.RefreshTokenTTL < r.AccessTokenTTL {
		l.fault("%sREFRESH_TOKEN_TTL=%s: want at least %sACCESS_TOKEN_TTL, which is %s; raise the one or lower the "+
			"other", prefix, r.RefreshTokenTTL, prefix, r.AccessTokenTTL)
	}
	if r.SessionsPerUser < 1 {
		l.fault("%sSESSIONS_PER_USER=%d: want at least 1", prefix, r.SessionsPerUser)
	}
	if r.CallsPerMinute < 0 || r.CallsPerMinute > mostCalls {
		l.fault("%sCALLS_PER_MINUTE=%d: want 1 to %d, or 0 for no limit", prefix, r.CallsPerMinute, mostCalls)
	}
	switch {
	case r.SessionsMax < 1 || r.SessionsMax > launchproto.MostSessions:
		l.fault("%sSESSIONS_MAX=%d: want 1 to %d", prefix, r.SessionsMax, launchproto.MostSessions)
	case r.SessionsMax < r.SessionsPerUser:
		l.fault("%sSESSIONS_MAX=%d: want at least %sSESSIONS_PER_USER, which is %d; raise the one or lower the "+
			"other", prefix, r.SessionsMax, prefix, r.SessionsPerUser)
	}
}

func (l *loader) within(name string, value, least, most time.Duration) bool {
	if value < least || value > most {
		l.fault("%s%s=%s: want %s to %s", prefix, name, value, least, most)
		return false
	}
	return true
}
