// Package config turns the environment and the systemd credentials of
// fjmcp-broker into a validated Config, or into an Error that lists every fault
// with its cure.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caarlos0/env/v11"

	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forge"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/sandbox/confine"
)

// ExitStatus is what a program ends with on a faulty configuration: EX_CONFIG
// of sysexits(3), which the unit names in RestartPreventExitStatus=.
const ExitStatus = 78

const prefix = "FJMCP_BROKER_"

// Launcher kinds.
const (
	LauncherSystemd = "systemd"
	LauncherProcess = "process"
)

// Settings are those that are used as they are written.
type Settings struct {
	SiteName           string        `env:"SITE_NAME"` // of the server, for people; "" for the host of its URL
	ForgejoClientID    string        `env:"FORGEJO_CLIENT_ID"`
	ForgejoCAFile      string        `env:"FORGEJO_CA_FILE"`                    // "" for the system's roots alone
	ForgejoSocket      string        `env:"FORGEJO_SOCKET"`                     // unix socket on which the forge speaks plain HTTP; "" to connect to its URL
	ForgejoUser        string        `env:"FORGEJO_USER"`                       // who must listen where the forge is; "" for anybody
	ForgejoMCP         string        `env:"FORGEJO_MCP"`                        // "" to look in /usr/bin, then /usr/local/bin
	Listen             string        `env:"LISTEN" envDefault:"127.0.0.1:8080"` // host:port, used without socket activation
	MetricsListen      string        `env:"METRICS_LISTEN"`                     // host:port, used where no socket for metrics is inherited; "" for none
	SessionIdleTimeout time.Duration `env:"SESSION_IDLE_TIMEOUT" envDefault:"15m"`
	SessionMaxAge      time.Duration `env:"SESSION_MAX_AGE" envDefault:"24h"`
	SessionsPerUser    int           `env:"SESSIONS_PER_USER" envDefault:"8"`   // running units, at least 1
	SessionsMax        int           `env:"SESSIONS_MAX" envDefault:"200"`      // running units, at least SessionsPerUser
	StartTimeout       time.Duration `env:"START_TIMEOUT" envDefault:"30s"`     // of a session's unit, up to its backend's first answer
	RequestTimeout     time.Duration `env:"REQUEST_TIMEOUT" envDefault:"5m"`    // of an MCP request, from its last sign of life
	CallsPerMinute     int           `env:"CALLS_PER_MINUTE" envDefault:"1200"` // of one user, 0 for any number
	AccessTokenTTL     time.Duration `env:"ACCESS_TOKEN_TTL" envDefault:"4h"`
	RefreshTokenTTL    time.Duration `env:"REFRESH_TOKEN_TTL" envDefault:"720h"`
}

// Config is a complete, valid configuration.
type Config struct {
	Settings
	PublicURL           *url.URL // no trailing slash
	ForgejoURL          *url.URL // no trailing slash
	ForgejoClientSecret string
	ForgejoScopes       []string
	Routes              forgeapi.Policy // which of the forge's routes sessions may use
	Launcher            string          // LauncherSystemd or LauncherProcess
	StateDir            string
	StoreKey            []byte         // 32 bytes
	storeKeyFile        string         // that it is mended in
	StoreKeysOld        [][]byte       // 32 bytes each
	AllowedOrigins      []string       // of pages, extensions and apps, as they send them
	RedirectSchemes     oauth.Schemes  // of apps, besides the known ones
	TrustedProxies      []netip.Prefix // whose X-Forwarded-For is believed
	ClientDocuments     bool           // fetch what clients publish about themselves
	DeviceGrant         bool           // clients without a browser may log in by a code
	AuditRequired       bool           // refuse calls whose events nobody takes
	ClientProxy         *url.URL       // through which; nil for none
}

// raw mirrors the environment. Keep in step with packaging/broker.env and
// fjmcp-broker.env(5).
type raw struct {
	Settings
	PublicURL       string `env:"PUBLIC_URL"`
	ForgejoURL      string `env:"FORGEJO_URL"`
	ForgejoScopes   string `env:"FORGEJO_SCOPES"`
	Routes          string `env:"FORGEJO_ROUTES"`
	Launcher        string `env:"LAUNCHER"`
	RequireLandlock string `env:"REQUIRE_LANDLOCK" envDefault:"off"`
	StateDir        string `env:"STATE_DIR"`
	AllowedOrigins  string `env:"ALLOWED_ORIGINS"`
	RedirectSchemes string `env:"REDIRECT_SCHEMES"`
	TrustedProxies  string `env:"TRUSTED_PROXIES"`
	ClientDocuments string `env:"CLIENT_METADATA_DOCUMENTS" envDefault:"on"`
	DeviceGrant     string `env:"DEVICE_GRANT" envDefault:"off"`
	AuditRequired   string `env:"AUDIT_REQUIRED" envDefault:"off"`
	ClientProxy     string `env:"CLIENT_METADATA_PROXY"`
}

// Error lists the faults of a configuration, each a sentence of one line.
type Error struct{ Faults []string }

// Error joins the faults, one a line.
func (e *Error) Error() string {
	return fmt.Sprintf("cannot start, the configuration has %d fault(s):\n  %s", len(e.Faults), strings.Join(e.Faults, "\n  "))
}

// loader collects faults while it builds a Config.
type loader struct {
	env    map[string]string
	given  map[string]Credential // those that are not read
	raw    raw
	faults []string

	booted       bool // systemd is PID 1
	landlock     bool // the kernel has it
	unregistered bool // there is no OAuth2 application yet
}

func (l *loader) fault(format string, args ...any) {
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
}

// Load reads environ (as os.Environ gives it) and the credentials it points to.
// On any fault the error is an *Error that names them all.
func Load(environ []string) (*Config, error) { return LoadWith(environ, nil) }

// LoadWith is Load with the credentials of these names as they are given.
func LoadWith(environ []string, given map[string]Credential) (*Config, error) {
	return newLoader(environ, given).load()
}

// Check is LoadWith before there is an OAuth2 application: it asks for neither its client
// ID nor its secret.
func Check(environ []string, given map[string]Credential) (*Config, error) {
	l := newLoader(environ, given)
	l.unregistered = true
	return l.load()
}

func newLoader(environ []string, given map[string]Credential) *loader {
	_, err := os.Stat("/run/systemd/system") // sd_booted(3)
	return &loader{env: env.ToMap(environ), given: given, booted: err == nil, landlock: confine.Landlock()}
}

func (l *loader) load() (*Config, error) {
	l.dropEmpty()
	l.refuseUnknown()
	l.parse()
	c := &Config{Settings: l.raw.Settings}
	c.PublicURL = l.publicURL()
	l.siteName()
	c.Launcher = l.launcher()
	l.requireLandlock(c.Launcher)
	c.ForgejoURL = l.forgejoURL(c.Launcher)
	c.ForgejoScopes = l.scopes()
	c.Routes = l.routes()
	c.AllowedOrigins = l.allowedOrigins()
	c.RedirectSchemes = l.redirectSchemes()
	c.TrustedProxies = l.trustedProxies()
	c.ClientDocuments = l.onOff("CLIENT_METADATA_DOCUMENTS", l.raw.ClientDocuments)
	c.DeviceGrant = l.onOff("DEVICE_GRANT", l.raw.DeviceGrant)
	c.AuditRequired = l.onOff("AUDIT_REQUIRED", l.raw.AuditRequired)
	c.ClientProxy = l.clientProxy()
	c.StateDir = filepath.Clean(cmp.Or(l.raw.StateDir, l.env["STATE_DIRECTORY"], "state"))
	l.forgejoUser(c.Launcher)
	l.files()
	l.listen()
	l.limits()
	if !l.unregistered {
		l.clientID()
		c.ForgejoClientSecret = l.clientSecret()
	}
	c.StoreKey, c.storeKeyFile = l.storeKey()
	c.StoreKeysOld = l.storeKeysOld()
	if len(l.faults) > 0 {
		return nil, &Error{Faults: l.faults}
	}
	return c, nil
}

// dropEmpty treats NAME= as unset, which is how people comment out a line of an
// environment file.
func (l *loader) dropEmpty() {
	maps.DeleteFunc(l.env, func(k, v string) bool { return strings.HasPrefix(k, prefix) && v == "" })
}

func (l *loader) refuseUnknown() {
	known := map[string]bool{}
	params, err := env.GetFieldParamsWithOptions(&raw{}, env.Options{Prefix: prefix})
	if err != nil {
		l.fault("cannot read the configuration: %v", err)
	}
	for _, p := range params {
		known[p.Key] = true
	}
	for _, name := range slices.Sorted(maps.Keys(l.env)) {
		switch {
		case !strings.HasPrefix(name, prefix) || known[name]:
		case name == deniedPaths:
			l.fault("%s=%q is not a setting any more; write %s=%s instead (see fjmcp-broker.env(5))", name, l.env[name], forgeapi.Variable, successor(l.env[name]))
		default:
			l.fault("%s is not a setting of this version; remove it or correct its spelling (see fjmcp-broker.env(5))", name)
		}
	}
}

// deniedPaths is what forgeapi.Variable has replaced. It listed what was closed, or began
// with the word default.
const deniedPaths = prefix + "FORGEJO_DENIED_PATHS"

// successor says the same in the words of forgeapi.Policy.
func successor(denied string) string {
	words := strings.Fields(denied)
	if slices.Equal(words, []string{"none"}) {
		return "open:everything"
	}
	var all []string
	if !slices.Contains(words, "default") {
		all = append(all, "open:keys", "open:applications", "open:tokens", "open:admin", "open:runners")
	}
	for _, word := range words {
		if word != "default" {
			all = append(all, "close:"+word)
		}
	}
	return cmp.Or(strings.Join(all, " "), "default")
}

// parse fills raw. A value that does not parse becomes a fault and leaves the
// field at its default, so that later checks do not stumble over it.
func (l *loader) parse() {
	options := env.Options{Prefix: prefix, Environment: maps.Clone(l.env)}
	var all env.AggregateError
	if !errors.As(env.ParseWithOptions(&l.raw, options), &all) {
		return
	}
	for _, err := range all.Errors {
		var p env.ParseError
		if !errors.As(err, &p) {
			l.fault("cannot read the configuration: %v", err)
			continue
		}
		field, _ := reflect.TypeFor[raw]().FieldByName(p.Name)
		name, want := prefix+field.Tag.Get("env"), "a whole number"
		if p.Type == reflect.TypeFor[time.Duration]() {
			want = `a duration such as "90s", "15m" or "24h"`
		}
		l.fault("%s=%q: want %s", name, l.env[name], want)
		delete(options.Environment, name)
	}
	l.raw = raw{}
	_ = env.ParseWithOptions(&l.raw, options) // what is left parses
}

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

// mostSessions is how many units one broker can be given back at its start: each has
// three descriptors in systemd's store, whose names, of 18 bytes with the colon, come as
// one string of the environment (execve(2): at most 128 KiB).
const mostSessions = 2000

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
	case r.SessionsMax < 1 || r.SessionsMax > mostSessions:
		l.fault("%sSESSIONS_MAX=%d: want 1 to %d", prefix, r.SessionsMax, mostSessions)
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
