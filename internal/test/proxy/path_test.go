package proxy

import (
	"os"
	"strings"
	"testing"
)

// The lines of the page serve the broker below a path and the forge beside it.
func TestBelowAPath(t *testing.T) {
	const origin = "https://git.example.org"
	w := startAt(t, origin+"/mcp-broker", "standin")
	site := block(t, "git.example.org {")
	p := runCaddy(w, "{\n\tskip_install_trust\n}\n"+edit{"{\n", "{\n\ttls internal\n"}.first(site))
	w.mustCall(w.mustConnect(p, "alice"), "get_my_user_info", nil, `"login":"alice"`)
	client := w.http(p, "127.0.0.1")
	for path, want := range map[string]string{
		"/.well-known/oauth-authorization-server/mcp-broker":   `"issuer":"` + w.url + `"`,
		"/.well-known/oauth-protected-resource/mcp-broker/mcp": `"resource":"` + w.url + `/mcp"`,
		"/.well-known/openid-configuration/mcp-broker":         `"issuer":"` + w.url + `"`,
		"/mcp-broker/account":                                  "Forgejo",
		"/api/v1/version":                                      `"version":"`,
	} {
		if status, _, body := w.send(client, "GET", origin+path, ""); status != 200 || !contains(body, want) {
			t.Errorf("%s gave %d %s", path, status, body)
		}
	}
}

// first replaces the first of several.
func (e edit) first(text string) string { return strings.Replace(text, e.old, e.new, 1) }

// block is the code block of docs/deploy-caddy.md that begins with a line.
func block(t *testing.T, first string) string {
	t.Helper()
	page, err := os.ReadFile("../../../docs/deploy-caddy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "```\n"+first+"\n")
	text, _, closed := strings.Cut(rest, "```\n")
	if !found || !closed {
		t.Fatalf("the page has no code block %q", first)
	}
	return first + "\n" + text
}
