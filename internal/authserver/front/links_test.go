package front

import (
	"encoding/base64"
	"encoding/json"
	"html"
	"net/url"
	"os/exec"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
)

// What clients are to read out of the links, whatever a server is called and wherever it is.
var connections = []Connection{
	{"forgejo", "git.example.org", "https://mcp.example.org/mcp"},
	{"example-forge", "Example Forge", "https://example.org:8443/a/b/mcp"},
	{"forgejo", `"><script>alert(1)</script>&name=x#+%41 é`, "https://mcp.example.org/mcp"},
	{"forgejo", "x", "https://mcp.example.org/a%20b'c&name=evil+%2522;$(id)/mcp"},
	{"forgejo", "x", "http://[::1]:8080/mcp"},
}

// unescape is decodeURIComponent: no plus sign is a space.
func unescape(t *testing.T, s string) string {
	t.Helper()
	if strings.ContainsAny(s, "+ \"<>") {
		t.Errorf("%q is not encoded as encodeURIComponent does", s)
	}
	out, err := url.PathUnescape(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// query splits a link's query as URLSearchParams does, and wants each parameter once.
func query(t *testing.T, u *url.URL) map[string]string {
	t.Helper()
	if u.Fragment != "" || strings.Contains(u.RawQuery, "+") {
		t.Errorf("%s has a fragment or a plus sign", u)
	}
	v, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for name, values := range v {
		if len(values) != 1 {
			t.Errorf("%s has %s %d times", u, name, len(values))
		}
		got[name] = values[0]
	}
	return got
}

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func equal(t *testing.T, client string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s reads %v, want %v", client, got, want)
	}
}

// Each link is taken apart as its client does, and is of the form that its documentation
// has; docs/clients.md says where that is.
func TestLinks(t *testing.T) {
	for _, c := range connections {
		read := map[string]func(t *testing.T, link string, u *url.URL){
			"VS Code":          vscode(c, "vscode"),
			"VS Code Insiders": vscode(c, "vscode-insiders"),
			"Cursor": func(t *testing.T, link string, u *url.URL) {
				if !strings.HasPrefix(link, "cursor://anysphere.cursor-deeplink/mcp/install?") {
					t.Error(link)
				}
				equal(t, "Cursor", named(t, u), map[string]any{"name": c.Name, "config": map[string]any{"url": c.URL}})
			},
			"LM Studio": func(t *testing.T, link string, u *url.URL) {
				if !strings.HasPrefix(link, "lmstudio://add_mcp?") {
					t.Error(link)
				}
				equal(t, "LM Studio", named(t, u), map[string]any{"name": c.Name, "config": map[string]any{"url": c.URL}})
			},
			"Goose": func(t *testing.T, link string, u *url.URL) {
				if !strings.HasPrefix(link, "goose://extension?") {
					t.Error(link)
				}
				equal(t, "Goose", query(t, u), map[string]string{
					"url": c.URL, "type": "streamable_http", "id": c.Name, "name": c.Name, "description": "Forgejo: " + c.Title, "timeout": "300",
				})
			},
			"Claude": func(t *testing.T, link string, u *url.URL) {
				if !strings.HasPrefix(link, "https://claude.ai/customize/connectors?") {
					t.Error(link)
				}
				equal(t, "Claude", query(t, u), map[string]string{"modal": "add-custom-connector", "connectorName": c.Title, "connectorUrl": c.URL})
			},
		}
		if strings.HasPrefix(c.URL, "http:") {
			delete(read, "Claude") // it would come from the internet to this computer
		}
		for _, l := range c.Links() {
			check := read[l.Label]
			delete(read, l.Label)
			u, err := url.Parse(string(l.URL))
			if check == nil || err != nil {
				t.Fatalf("%s: %s: %v", l.Label, l.URL, err)
			}
			check(t, string(l.URL), u)
		}
		if len(read) > 0 {
			t.Errorf("no link for %v", read)
		}
	}
}

// The page has the links as they are, and no more than them, whatever the operator calls the
// server and wherever it is.
func TestLinksOnThePage(t *testing.T) {
	href := regexp.MustCompile(` href="([^"]*)"`)
	for _, c := range connections {
		page := string(pages.Front{Endpoint: c.URL, Links: c.Links(), Commands: c.Commands()}.Render(pages.Frame{Site: c.Title, Forge: c.Title}))
		got := map[string]bool{}
		for _, m := range href.FindAllStringSubmatch(page, -1) {
			got[html.UnescapeString(m[1])] = true
		}
		for _, l := range c.Links() {
			if !got[string(l.URL)] {
				t.Errorf("the page has not %s", l.URL)
			}
		}
		if len(got) > len(c.Links())+1 || strings.Contains(page, "<script") { // and one to the forge, "" here
			t.Errorf("%v\n%s", got, page)
		}
		for _, command := range c.Commands() {
			text := html.UnescapeString(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(page, ""))
			if !strings.Contains(text, command.Line) {
				t.Errorf("the page has not %s", command.Line)
			}
		}
	}
}

// vscode decodes the query when it reads the link, and once more.
func vscode(c Connection, scheme string) func(*testing.T, string, *url.URL) {
	return func(t *testing.T, link string, _ *url.URL) {
		encoded, ok := strings.CutPrefix(link, scheme+":mcp/install?")
		if !ok {
			t.Fatal(link)
		}
		want := map[string]any{"name": c.Name, "type": "http", "url": c.URL}
		once := unescape(t, encoded)
		equal(t, scheme, object(t, once), want)
		twice, err := url.PathUnescape(once)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, scheme, object(t, twice), want)
	}
}

// named reads name and config, which is JSON in standard base64.
func named(t *testing.T, u *url.URL) map[string]any {
	t.Helper()
	got := map[string]any{}
	for name, value := range query(t, u) {
		got[name] = value
	}
	text, err := base64.StdEncoding.DecodeString(got["config"].(string))
	if err != nil {
		t.Fatal(err)
	}
	got["config"] = object(t, string(text))
	return got
}

// A shell makes of each command the words that the client's documentation has.
func TestCommands(t *testing.T) {
	for _, c := range connections {
		for _, command := range c.Commands() {
			want := map[string][]string{
				"Claude Code": {"claude", "mcp", "add", "--scope", "user", "--transport", "http", c.Name, c.URL},
				"Codex":       {"codex", "mcp", "add", c.Name, "--url", c.URL},
				"Gemini CLI":  {"gemini", "mcp", "add", "--scope", "user", "--transport", "http", c.Name, c.URL},
			}[command.Client]
			out, err := exec.CommandContext(t.Context(), "sh", "-c", `printf '%s\n' `+command.Line).Output()
			if err != nil {
				t.Fatal(err)
			}
			equal(t, command.Client, strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"), want)
		}
	}
}

func TestServerName(t *testing.T) {
	for site, want := range map[string]string{
		"": "forgejo", "Example Forge": "example-forge", "  --  ": "forgejo", "例え": "forgejo", "Bücher": "b-cher",
		"a very long name that does not end": "a-very-long-name-that-does", "abcdefghijklmnopqrstuvwxyz0123": "abcdefghijklmnopqrstuvwxyz",
		"abcdefghijklmnopqrstuvwxy --z": "abcdefghijklmnopqrstuvwxy", "$(id); x": "id-x", "git.example.org": "git-example-org",
	} {
		if got := ServerName(site); got != want {
			t.Errorf("%q: %q, want %q", site, got, want)
		}
	}
}
