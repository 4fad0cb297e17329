package launcher

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sddbus "github.com/coreos/go-systemd/v22/dbus"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
)

// TestProperties compares all that is said to the service manager, with its
// D-Bus types, to testdata/properties.golden.
func TestProperties(t *testing.T) {
	r := launchproto.Request{
		Op: launchproto.OpStart, ID: "abcdefgh", Session: "ijklmnop", Account: "account0", IdleSeconds: 900, MaxSeconds: 86400,
	}
	f := view{
		url: "https://git.example.org", forgejoMCP: insideForgejoMCP, caFile: insideCAFile, routes: "open:webhooks close:/users/*/tokens",
		startTimeout: 30 * time.Second,
		binds:        []bind{{"/opt/forgejo-mcp", insideForgejoMCP}, {"/etc/forge-ca.pem", insideCAFile}},
	}
	timer := reapTimer(r)
	got := render(launchproto.UnitName(r.ID), serviceProperties(r, f, 7, 8)) + "\n" + render(timer.Name, timer.Properties)
	want, err := os.ReadFile("testdata/properties.golden")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func render(unit string, props []sddbus.Property) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[%s]\n", unit)
	for _, p := range props {
		value := p.Value.Value()
		if fields, ok := value.([][]byte); ok {
			value = fmt.Sprintf("%q", fields)
		}
		fmt.Fprintf(&b, "%s %s %v\n", p.Name, p.Value.Signature(), value)
	}
	return b.String()
}

func TestSettings(t *testing.T) {
	dir := t.TempDir()
	binary, ca, link := filepath.Join(dir, "forgejo-mcp"), filepath.Join(dir, "ca.pem"), filepath.Join(dir, "link")
	for _, path := range []string{binary, ca} {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(binary, link); err != nil {
		t.Fatal(err)
	}
	const url = "https://git.example.org"
	for _, c := range []struct {
		name     string
		settings settings
		want     view
		err      string
	}{
		{"bound into the session", settings{url + "/sub/", ca, link, "", "", "", 0},
			view{url + "/sub", insideForgejoMCP, insideCAFile, "default", false, []bind{{binary, insideForgejoMCP}, {ca, insideCAFile}}, 0}, ""},
		{"under /usr", settings{url, "", "/usr/bin/env", "close:/x", "", "", 0}, view{url, "/usr/bin/env", "", "close:/x", false, nil, 0}, ""},
		{"no URL", settings{"", "", binary, "", "", "", 0}, view{}, "FJMCP_BROKER_FORGEJO_URL is missing"},
		{"no binary", settings{url, "", dir + "/absent", "", "", "", 0}, view{}, `FJMCP_BROKER_FORGEJO_MCP="` + dir + `/absent": no such file`},
		{"no CA file", settings{url, dir + "/absent", binary, "", "", "", 0}, view{}, `FJMCP_BROKER_FORGEJO_CA_FILE="` + dir + `/absent": no such file`},
		{"routes", settings{url, "", binary, "keys open:/ok", "", "", 0}, view{}, `faulty: "keys"`},
		{"relative CA file", settings{url, "ca.pem", binary, "", "", "", 0}, view{}, "want an absolute path"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.settings.resolve()
			if fmt.Sprint(got) != fmt.Sprint(c.want) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %+v, %v\nwant %+v, %q", got, err, c.want, c.err)
			}
			if err != nil && !strings.Contains(err.Error(), "/etc/fjmcp/broker.env") {
				t.Errorf("error does not say where to mend it: %v", err)
			}
		})
	}
}

// What units are made of shows in made: another binary, another mode, another drop-in.
func TestMade(t *testing.T) {
	dir := t.TempDir()
	binary, conf := filepath.Join(dir, "forgejo-mcp"), filepath.Join(dir, "fjmcp-session@.service.d", "50-local.conf")
	steps := map[string]func() error{
		"a binary": func() error { return os.WriteFile(binary, []byte("1"), 0o644) },
		"its mode": func() error { return os.Chmod(binary, 0o755) },
		"another":  func() error { return errors.Join(os.WriteFile(binary+"2", nil, 0o755), os.Rename(binary+"2", binary)) },
		"a drop-in": func() error {
			return errors.Join(os.Mkdir(filepath.Dir(conf), 0o755), os.WriteFile(conf, []byte("a"), 0o644))
		},
		"another drop-in": func() error { return os.WriteFile(conf, []byte("b"), 0o644) },
		"a unit file":     func() error { return os.WriteFile(strings.TrimSuffix(filepath.Dir(conf), ".d"), nil, 0o644) },
	}
	s := settings{forgejoMCP: binary}
	seen := map[string]string{s.made([]string{dir}): "nothing"}
	for _, name := range []string{"a binary", "its mode", "another", "a drop-in", "another drop-in", "a unit file"} {
		if err := steps[name](); err != nil {
			t.Fatal(err)
		}
		made := s.made([]string{dir})
		if before, ok := seen[made]; ok {
			t.Errorf("%s looks like %s: %q", name, before, made)
		}
		if again := s.made([]string{dir}); again != made {
			t.Errorf("%s: %q, then %q", name, made, again)
		}
		seen[made] = name
	}
}

// What the broker would refuse never comes here, and is not obeyed if it does.
func TestStartTimeout(t *testing.T) {
	for value, want := range map[string]time.Duration{"": 30 * time.Second, "45s": 45 * time.Second, "5m": 5 * time.Minute, "9s": 30 * time.Second, "6m": 30 * time.Second, "x": 30 * time.Second} {
		if got := newSettings(from(envStartTimeout + "=" + value)).startTimeout; got != want {
			t.Errorf("%s=%s: got %v, want %v", envStartTimeout, value, got, want)
		}
	}
}
