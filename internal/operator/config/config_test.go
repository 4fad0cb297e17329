package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// load loads a working configuration with the given NAME=value changes; a
// change "-NAME" removes a variable.
func load(t *testing.T, booted bool, changes ...string) (*Config, error) {
	t.Helper()
	return settings(t, booted, true, changes...)
}

func settings(t *testing.T, booted, landlock bool, changes ...string) (*Config, error) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "forgejo-client-secret"), []byte("gto_secret\n"))
	write(t, filepath.Join(dir, "store-key"), bytes.Repeat([]byte{7}, 32))
	env := map[string]string{
		"PATH":                           "/usr/bin",
		"CREDENTIALS_DIRECTORY":          dir,
		"FJMCP_BROKER_PUBLIC_URL":        "https://mcp.example.org",
		"FJMCP_BROKER_FORGEJO_URL":       "https://git.example.org/",
		"FJMCP_BROKER_FORGEJO_CLIENT_ID": "a1b2",
	}
	for _, c := range changes {
		name, value, _ := strings.Cut(c, "=")
		if strings.HasPrefix(name, "-") {
			delete(env, name[1:])
			continue
		}
		env[name] = value
	}
	return (&loader{env: env, policyFile: filepath.Join(dir, "policy.toml"), booted: booted, landlock: landlock}).load()
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDefaults(t *testing.T) {
	c, err := load(t, true)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(c.PublicURL, c.ForgejoURL, c.ForgejoClientSecret, c.Launcher, c.Listen, c.StateDir,
		c.SessionIdleTimeout, c.SessionMaxAge, c.SessionsPerUser, c.SessionsMax, c.AccessTokenTTL, c.RefreshTokenTTL, len(c.StoreKey), len(c.ForgejoScopes) > 0)
	want := fmt.Sprintln("https://mcp.example.org", "https://git.example.org", "gto_secret", LauncherSystemd, "127.0.0.1:8080", "state",
		15*time.Minute, 24*time.Hour, 8, 200, 4*time.Hour, 720*time.Hour, 32, true)
	if got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func TestSiteName(t *testing.T) {
	for name, good := range map[string]bool{
		"Example Forge": true, "Schmiede für Bücher & Co": true, "例え": true, strings.Repeat("a", 40): true, "<script>1</script>": true,
		strings.Repeat("a", 41): false, "two\nlines": false, " a": false, "a\u202eb": false, "--": false, "a\u200b": false,
	} {
		c, err := load(t, true, "FJMCP_BROKER_SITE_NAME="+name)
		if good && (err != nil || c.SiteName != name) || !good && (err == nil || !strings.Contains(err.Error(), "SITE_NAME")) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestAllowedOrigins(t *testing.T) {
	c, err := load(t, true, "FJMCP_BROKER_ALLOWED_ORIGINS=https://App.example.org:443/, https://b.example:8443\thttps://c.example "+
		"chrome-extension://abcdefghijklmnopabcdefghijklmnop/ App://obsidian.md vscode-file://vscode-app tauri://localhost safari-web-extension://AB-12")
	want := []string{"https://app.example.org", "https://b.example:8443", "https://c.example",
		"chrome-extension://abcdefghijklmnopabcdefghijklmnop", "app://obsidian.md", "vscode-file://vscode-app", "tauri://localhost", "safari-web-extension://AB-12"}
	if err != nil || !slices.Equal(c.AllowedOrigins, want) {
		t.Fatalf("got %v, %v", c, err)
	}
}

func TestRedirectSchemes(t *testing.T) {
	c, err := load(t, true, "FJMCP_BROKER_REDIRECT_SCHEMES=myapp, your-app\tcom.example.app")
	if err != nil || fmt.Sprint(c.RedirectSchemes) != "[myapp your-app com.example.app]" {
		t.Fatalf("got %v, %v", c, err)
	}
}

func TestTrustedProxies(t *testing.T) {
	c, err := load(t, true, "FJMCP_BROKER_TRUSTED_PROXIES=127.0.0.1, ::1\t10.1.2.3/8")
	if err != nil || fmt.Sprint(c.TrustedProxies) != "[127.0.0.1/32 ::1/128 10.0.0.0/8]" {
		t.Fatalf("got %v, %v", c, err)
	}
}

// A missing store-key-old reaches the broker as one line feed.
func TestOldKeys(t *testing.T) {
	for _, size := range []int{1, 32, 64, 33} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "forgejo-client-secret"), []byte("gto_secret"))
		write(t, filepath.Join(dir, "store-key"), bytes.Repeat([]byte{7}, 32))
		old := bytes.Repeat([]byte{8}, size)
		if size == 1 {
			old = []byte("\n")
		}
		write(t, filepath.Join(dir, "store-key-old"), old)
		c, err := load(t, true, "CREDENTIALS_DIRECTORY="+dir)
		switch {
		case size == 33:
			if err == nil || !strings.Contains(err.Error(), "store-key-old") {
				t.Errorf("%d bytes: %v", size, err)
			}
		case err != nil || len(c.StoreKeysOld) != size/32:
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestClientDocuments(t *testing.T) {
	for change, want := range map[string]bool{"PATH=/usr/bin": true, "FJMCP_BROKER_CLIENT_METADATA_DOCUMENTS=on": true, "FJMCP_BROKER_CLIENT_METADATA_DOCUMENTS=off": false} {
		if c, err := load(t, true, change); err != nil || c.ClientDocuments != want {
			t.Errorf("%s: %+v, %v", change, c, err)
		}
	}
}

func TestClientProxy(t *testing.T) {
	for setting, want := range map[string]string{"": "<nil>", "http://Proxy.example.org:3128/": "http://proxy.example.org:3128", "https://[fd00::1]:3129": "https://[fd00::1]:3129"} {
		if c, err := load(t, true, "FJMCP_BROKER_CLIENT_METADATA_PROXY="+setting); err != nil || fmt.Sprint(c.ClientProxy) != want {
			t.Errorf("%q: %v, %v", setting, c, err)
		}
	}
}

func TestRequireLandlock(t *testing.T) {
	for change, refused := range map[string]bool{"PATH=/usr/bin": false, "FJMCP_BROKER_REQUIRE_LANDLOCK=on": true, "FJMCP_BROKER_REQUIRE_LANDLOCK=off": false} {
		if _, err := load(t, false, change); err != nil {
			t.Errorf("%s: %v", change, err)
		}
		_, err := settings(t, false, false, change)
		if (err != nil) != refused || refused && !strings.Contains(err.Error(), "there is no Landlock") {
			t.Errorf("%s without Landlock: %v", change, err)
		}
	}
}

func TestRoutes(t *testing.T) {
	for setting, want := range map[string]string{"": "default", "default": "default", "open:webhooks close:/user/emails": "open:webhooks close:/user/emails"} {
		if c, err := load(t, true, "FJMCP_BROKER_FORGEJO_ROUTES="+setting); err != nil || c.Routes.String() != want {
			t.Errorf("%q: %v, %v", setting, c, err)
		}
	}
}

func TestLauncherFollowsPID1(t *testing.T) {
	c, err := load(t, false, "STATE_DIRECTORY=/var/lib/fjmcp")
	if err != nil || c.Launcher != LauncherProcess || c.StateDir != "/var/lib/fjmcp" {
		t.Fatalf("got %+v, %v", c, err)
	}
}

// Each faulty setting is named, with what would be right.
func TestFaults(t *testing.T) {
	for _, tc := range []struct{ change, want string }{
		{"-FJMCP_BROKER_PUBLIC_URL", "PUBLIC_URL is missing"},
		{"FJMCP_BROKER_PUBLIC_URL=http://mcp.example.org", "want https"},
		{"FJMCP_BROKER_PUBLIC_URL=https://u:p@mcp.example.org", "must not carry a user name"},
		{"FJMCP_BROKER_PUBLIC_URL=https://mcp.example.org/?a", "query"},
		{"FJMCP_BROKER_PUBLIC_URL=mcp.example.org", "want an absolute URL"},
		{"FJMCP_BROKER_PUBLIC_URL=https://mcp.example.org/a//b", "plain path"},
		{"FJMCP_BROKER_FORGEJO_URL=", "FORGEJO_URL is missing"},
		{"FJMCP_BROKER_FORGEJO_URL=https://127.0.0.1:3000", "https://forgejo.localhost:3000"},
		{"FJMCP_BROKER_FORGEJO_URL=http://localhost", "http://forgejo.localhost"},
		{"-FJMCP_BROKER_FORGEJO_CLIENT_ID", "https://mcp.example.org/oauth/callback"},
		{"FJMCP_BROKER_FORGEJO_SCOPES=openid", "FORGEJO_SCOPES"},
		{"FJMCP_BROKER_FORGEJO_SCOPES=read:user,write:issue", "FORGEJO_SCOPES"},
		{"FJMCP_BROKER_FORGEJO_CA_FILE=/nonexistent/ca.pem", "FORGEJO_CA_FILE"},
		{"FJMCP_BROKER_FORGEJO_CA_FILE=/etc/passwd", "cannot find a PEM certificate in the forge's CA file /etc/passwd"},
		{"FJMCP_BROKER_FORGEJO_SOCKET=forgejo.sock", "want an absolute path"},
		{"FJMCP_BROKER_FORGEJO_USER=nobody-of-this-name", `no user "nobody-of-this-name"`},
		{"FJMCP_BROKER_LISTEN=127.0.0.1", "want an IP address or localhost, and a port"},
		{"FJMCP_BROKER_METRICS_LISTEN=9464", "FJMCP_BROKER_METRICS_LISTEN=\"9464\": want an IP address or localhost, and a port, such as 127.0.0.1:9464"},
		{"FJMCP_BROKER_METRICS_LISTEN=/run/metrics.sock", "want an IP address or localhost, and a port"},
		{"FJMCP_BROKER_LISTEN=8080", "want an IP address or localhost, and a port"},
		{"FJMCP_BROKER_LISTEN=127.0.0.1:65536", "want an IP address or localhost, and a port"},
		{"FJMCP_BROKER_LISTEN=loclahost:8080", "want an IP address or localhost, and a port"},
		{"FJMCP_BROKER_ACCESS_TOKEN_TTL=720h1s", "ACCESS_TOKEN_TTL=720h0m1s: want"},
		{"FJMCP_BROKER_REFRESH_TOKEN_TTL=3h", "REFRESH_TOKEN_TTL=3h0m0s: want at least FJMCP_BROKER_ACCESS_TOKEN_TTL, which is 4h0m0s"},
		{"FJMCP_BROKER_SESSIONS_MAX=7", "SESSIONS_MAX=7: want at least FJMCP_BROKER_SESSIONS_PER_USER, which is 8"},
		{"FJMCP_BROKER_SESSIONS_PER_USER=201", "SESSIONS_MAX=200: want at least FJMCP_BROKER_SESSIONS_PER_USER, which is 201"},
		{"FJMCP_BROKER_CALLS_PER_MINUTE=-1", "CALLS_PER_MINUTE=-1: want 1 to 1000000, or 0 for no limit"},
		{"FJMCP_BROKER_CALLS_PER_MINUTE=1000001", "want 1 to 1000000"},
		{"FJMCP_BROKER_CALLS_PER_MINUTE=off", `CALLS_PER_MINUTE="off": want a whole number`},
		{"FJMCP_BROKER_SESSIONS_MAX=0", "want 1 to 2000"},
		{"FJMCP_BROKER_FORGEJO_MCP=forgejo-mcp", "want an absolute path"},
		{"FJMCP_BROKER_FORGEJO_ROUTES=user/keys close:/api/v1/admin", `faulty: "user/keys", "close:/api/v1/admin"`},
		{"FJMCP_BROKER_FORGEJO_DENIED_PATHS=none", "write FJMCP_BROKER_FORGEJO_ROUTES=open:everything instead"},
		{"FJMCP_BROKER_FORGEJO_DENIED_PATHS=default", "write FJMCP_BROKER_FORGEJO_ROUTES=default instead"},
		{"FJMCP_BROKER_FORGEJO_DENIED_PATHS=default /user/emails", "write FJMCP_BROKER_FORGEJO_ROUTES=close:/user/emails instead"},
		{"FJMCP_BROKER_FORGEJO_DENIED_PATHS=/admin", "write FJMCP_BROKER_FORGEJO_ROUTES=open:keys open:applications open:tokens open:admin open:runners close:/admin instead"},
		{"FJMCP_BROKER_CLIENT_METADATA_DOCUMENTS=true", "want on or off"},
		{"FJMCP_BROKER_REQUIRE_LANDLOCK=yes", "want on or off"},
		{"FJMCP_BROKER_REQUIRE_LANDLOCK=on", "only for FJMCP_BROKER_LAUNCHER=process"}, // systemd runs here
		{"FJMCP_BROKER_LAUNCHER=docker", `want "systemd" or "process"`},
		{"FJMCP_BROKER_SESSION_IDLE_TIMEOUT=15", "want a duration"},
		{"FJMCP_BROKER_SESSION_IDLE_TIMEOUT=0s", "want 1s to"},
		{"FJMCP_BROKER_SESSIONS_MAX=many", "want a whole number"},
		{"FJMCP_BROKER_SESSIONS_PER_USER=0", "want at least 1"},
		{"FJMCP_BROKER_IDLE_TIMEOUT=1h", "not a setting of this version"},
		{"FJMCP_BROKER_ALLOWED_ORIGINS=https://good.example https://*.example.org", "no wildcard"},
		{"FJMCP_BROKER_ALLOWED_ORIGINS=http://app.example.org", "want https"},
		{"FJMCP_BROKER_ALLOWED_ORIGINS=https://app.example.org/x", "want the origin alone, https://app.example.org"},
		{"FJMCP_BROKER_ALLOWED_ORIGINS=app.example.org", "want an origin such as"},
		{"FJMCP_BROKER_TRUSTED_PROXIES=10.0.0.1 proxy.example", `"proxy.example": want IP addresses`},
		{"FJMCP_BROKER_TRUSTED_PROXIES=::/0", "trusts everyone"},
		{"FJMCP_BROKER_ALLOWED_ORIGINS=null", "it cannot be allowed"},
		{"FJMCP_BROKER_ALLOWED_ORIGINS=file:///x", "want an origin such as"},
		{"FJMCP_BROKER_ALLOWED_ORIGINS=file://host", "file has no origins"},
		{"FJMCP_BROKER_ALLOWED_ORIGINS=app://obsidian.md/x", "want the origin alone, app://obsidian.md"},
		{"FJMCP_BROKER_ALLOWED_ORIGINS=app:obsidian.md", "want an origin such as"},
		{"FJMCP_BROKER_REDIRECT_SCHEMES=myapp javascript", `"javascript": want the scheme of an app`},
		{"FJMCP_BROKER_REDIRECT_SCHEMES=myapp://", `"myapp://": want a scheme in lower case and nothing else`},
		{"FJMCP_BROKER_CLIENT_METADATA_PROXY=proxy.example.org:3128", "CLIENT_METADATA_PROXY"},
		{"FJMCP_BROKER_CLIENT_METADATA_PROXY=socks5://proxy.example.org", "want an absolute URL"},
		{"FJMCP_BROKER_CLIENT_METADATA_PROXY=http://u:p@proxy.example.org", "must not carry a user name"},
		{"FJMCP_BROKER_CLIENT_METADATA_PROXY=http://proxy.example.org/x", "want a proxy alone"},
		{"FJMCP_BROKER_REDIRECT_SCHEMES=https", `"https": want the scheme of an app`},
	} {
		t.Run(tc.change, func(t *testing.T) {
			_, err := load(t, true, tc.change)
			var faults *Error
			if !errors.As(err, &faults) || len(faults.Faults) != 1 || !strings.Contains(faults.Faults[0], tc.want) {
				t.Fatalf("got %v, want one fault with %q", err, tc.want)
			}
		})
	}
}

func TestListen(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", ":8080", "[::1]:8080", "[fe80::1%eth0]:8080", "localhost:65535"} {
		if c, err := load(t, true, "FJMCP_BROKER_LISTEN="+listen); err != nil || c.Listen != listen {
			t.Errorf("%s: %v", listen, err)
		}
	}
}

func TestLiteralLoopbackForge(t *testing.T) {
	const setting = "FJMCP_BROKER_FORGEJO_URL=http://127.0.0.1:3000"
	if _, err := load(t, true, setting); err != nil {
		t.Errorf("systemd launcher: %v", err)
	}
	if _, err := load(t, false, setting); err == nil || !strings.Contains(err.Error(), "http://forgejo.localhost:3000") {
		t.Errorf("process launcher: %v, want the cure", err)
	}
}

// Broker and sessions go the same way, which is checked where it can be.
func TestForgeWay(t *testing.T) {
	const local = "FJMCP_BROKER_FORGEJO_URL=http://forgejo.localhost:3000"
	const socket, user = "FJMCP_BROKER_FORGEJO_SOCKET=/run/forgejo/forgejo.sock", "FJMCP_BROKER_FORGEJO_USER=root"
	for _, tc := range []struct {
		systemd   bool
		settings  []string
		socket    string
		plaintext bool
		replaced  bool
	}{
		{true, nil, "", false, false},
		{true, []string{local}, "", false, true},
		{true, []string{"FJMCP_BROKER_FORGEJO_URL=http://forgejo.localhost"}, "", false, false}, // port 80 takes root
		{true, []string{"FJMCP_BROKER_FORGEJO_URL=https://forgejo.localhost:3000"}, "", false, false},
		{true, []string{"FJMCP_BROKER_FORGEJO_URL=http://git.example.org:3000"}, "", false, false},
		{true, []string{local, user}, "/run/fjmcp-private/egress/egress.sock", false, false},
		{true, []string{socket}, "/run/fjmcp-private/egress/egress.sock", true, false},
		{false, []string{local}, "", false, true},
		{false, []string{local, socket}, "/run/forgejo/forgejo.sock", true, false},
	} {
		c, err := load(t, tc.systemd, tc.settings...)
		if err != nil {
			t.Errorf("%v: %v", tc.settings, err)
			continue
		}
		got, plaintext := c.ForgeWay()
		if got != tc.socket || plaintext != tc.plaintext || c.ForgeCanBeReplaced() != tc.replaced {
			t.Errorf("%v: %q, %v, can be replaced: %v; want %q, %v, %v", tc.settings, got, plaintext, c.ForgeCanBeReplaced(), tc.socket, tc.plaintext, tc.replaced)
		}
	}
	if _, err := load(t, false, local, user); err == nil || !strings.Contains(err.Error(), "only for FJMCP_BROKER_LAUNCHER=systemd") {
		t.Errorf("process launcher: %v", err)
	}
}

func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	at := "CREDENTIALS_DIRECTORY=" + dir
	write(t, filepath.Join(dir, "forgejo-client-secret"), nil)
	write(t, filepath.Join(dir, "store-key"), make([]byte, 33))
	_, err := load(t, true, at)
	for _, want := range []string{"2 fault(s)", "forgejo-client-secret is missing or empty", "want exactly 32 bytes", "found 33"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

// Before there is an application, neither its ID nor its secret is a fault.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "store-key"), bytes.Repeat([]byte{7}, 32))
	environ := []string{"CREDENTIALS_DIRECTORY=" + dir, "FJMCP_BROKER_PUBLIC_URL=https://mcp.example.org/", "FJMCP_BROKER_FORGEJO_URL=https://git.example.org"}
	if c, err := Check(environ, nil); err != nil || c.PublicURL.String() != "https://mcp.example.org" {
		t.Errorf("got %v", err)
	}
	if _, err := Load(environ); err == nil || !strings.Contains(err.Error(), "2 fault(s)") {
		t.Errorf("got %v", err)
	}
	if _, err := Check(environ[:2], nil); err == nil || !strings.Contains(err.Error(), "FJMCP_BROKER_FORGEJO_URL is missing") {
		t.Errorf("got %v", err)
	}
}

// All faults come at once, and none shows a secret.
func TestEveryFaultAtOnce(t *testing.T) {
	_, err := load(t, true, "-FJMCP_BROKER_PUBLIC_URL", "FJMCP_BROKER_SESSIONS_MAX=x", "FJMCP_BROKER_SESSION_MAX_AGE=y", "FJMCP_BROKER_NOPE=1",
		"FJMCP_BROKER_REFRESH_TOKEN_TTL=1h", "FJMCP_BROKER_SESSIONS_PER_USER=201", "FJMCP_BROKER_LISTEN=here", "FJMCP_BROKER_FORGEJO_CA_FILE=/etc/passwd")
	var faults *Error
	if !errors.As(err, &faults) || len(faults.Faults) != 8 {
		t.Fatalf("got %v, want 8 faults", err)
	}
	if slices.ContainsFunc(faults.Faults, func(f string) bool { return strings.Contains(f, "gto_secret") || strings.Contains(f, "\n") }) {
		t.Fatalf("a fault shows a secret or breaks the line: %v", err)
	}
}
