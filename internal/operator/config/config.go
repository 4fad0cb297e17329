// Package config turns the environment and the systemd credentials of
// fjmcp-broker into a validated Config, or into an Error that lists every fault
// with its cure.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
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
	Routes              forgeapi.Policy  // which of the forge's routes sessions may use
	PolicyFile          string           // where the policy is, or would be
	Policy              *policy.Document // what it says; nil for no policy
	policyNeeded        bool             // it must be there
	Launcher            string           // LauncherSystemd or LauncherProcess
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
	Policy          string `env:"POLICY"` // "" for DefaultPolicy, if there is one
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

	policyFile   string // where a policy is that is not set
	booted       bool   // systemd is PID 1
	landlock     bool   // the kernel has it
	unregistered bool   // there is no OAuth2 application yet
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
	return &loader{env: env.ToMap(environ), given: given, policyFile: DefaultPolicy, booted: err == nil, landlock: confine.Landlock()}
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
	l.policy(c)
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
