package proxy

import (
	"os"
	"strings"
	"testing"
)

const gitOrigin = "https://git.example.org"

// belowAPath starts each proxy with the lines of the page.
var belowAPath = map[string]func(*world) *proxy{
	"caddy": func(w *world) *proxy {
		site := block(w.t, "git.example.org {")
		return runCaddy(w, "{\n\tskip_install_trust\n}\n"+edit{"{\n", "{\n\ttls internal\n"}.first(site))
	},
	"nginx": func(w *world) *proxy {
		format, _, _ := strings.Cut(shipped(w.t, "nginx/fjmcp.conf"), "server {")
		return runNginx(w, format+"server {\n\tlisten 443 ssl;\n\tserver_name git.example.org;\n"+
			"\tssl_certificate "+certificates+"/fullchain.pem;\n\tssl_certificate_key "+certificates+"/privkey.pem;\n"+
			block(w.t, `location ~ ^/(mcp-broker/|\.well-known/(oauth-|openid-configuration/)) {`)+
			"\tlocation / {\n\t\tproxy_pass http://127.0.0.1:3000;\n\t}\n}\n")
	},
}

// The lines of the page serve the broker below a path and the forge beside it.
func TestBelowAPath(t *testing.T) {
	for name, run := range belowAPath {
		t.Run(name, func(t *testing.T) {
			w := startAt(t, gitOrigin+"/mcp-broker", "standin")
			p := run(w)
			w.mustCall(w.mustConnect(p, "alice"), "get_my_user_info", nil, `"login":"alice"`)
			client, issuer := w.http(p, "127.0.0.1"), `"issuer":"`+w.url+`"`
			for path, want := range map[string]string{
				"/.well-known/oauth-authorization-server/mcp-broker":    issuer,
				"/.well-known/oauth-authorization-server":               issuer,
				"/.well-known/oauth-protected-resource/mcp-broker/mcp":  `"resource":"` + w.url + `/mcp"`,
				"/.well-known/oauth-protected-resource/mcp-broker/mcp/": `"resource":"` + w.url + `/mcp/"`,
				"/.well-known/openid-configuration/mcp-broker":          issuer,
				"/mcp-broker/account":                                   "Forgejo",
				"/api/v1/version":                                       `"version":"`,
			} {
				if status, _, body := w.send(client, "GET", gitOrigin+path, ""); status != 200 || !contains(body, want) {
					t.Errorf("%s gave %d %s", path, status, body)
				}
			}
			if _, _, body := w.send(client, "GET", gitOrigin+"/.well-known/openid-configuration", ""); contains(body, issuer) {
				t.Errorf("the forge's own document is the broker's: %s", body)
			}
			w.well(name)
		})
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
