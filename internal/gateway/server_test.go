package gateway

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestPreflight(t *testing.T) {
	public, err := url.Parse("https://mcp.example.org/p")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	New(Config{PublicURL: public, AllowedOrigins: []string{
		"https://app.example.org:8443", "chrome-extension://abcdefghijklmnopabcdefghijklmnop", "app://obsidian.md",
	}}).Routes(mux)
	for origin, allowed := range map[string]bool{
		"":                             false, // needs no header
		"https://mcp.example.org":      true,
		"https://app.example.org:8443": true,
		"http://localhost:6274":        true,
		"http://inspector.localhost":   true,
		"http://127.0.0.1:6274":        true,
		"https://[::1]:1":              true,
		"app://obsidian.md":            true,
		"app://obsidian.md.evil.test":  false,
		"vscode-file://vscode-app":     false, // not named
		"null":                         false,

		"chrome-extension://abcdefghijklmnopabcdefghijklmnop": true,
		"chrome-extension://ponmlkjihgfedcbaponmlkjihgfedcba": false,
		"https://app.example.org":                             false,
		"http://mcp.example.org":                              false,
		"https://mcp.example.org.evil.test":                   false,
		"https://evil.test":                                   false,
		"http://localhost.evil.test":                          false,
		"http://127.0.0.1.evil.test":                          false,
		"http://127.0.0.1@evil.test":                          false,
		"http://evil.test/http://localhost":                   false,
		"http://localhost:6274/":                              false, // not an origin
		"vscode-webview://localhost":                          false,
		"http://2130706433":                                   false,
		"http://[::ffff:203.0.113.1]":                         false,
		"https://mcp.example.org, http://a.b":                 false,
	} {
		r := httptest.NewRequest(http.MethodOptions, "/p/mcp/x/issues/readonly", nil)
		r.Header.Set("Access-Control-Request-Method", "POST")
		r.Header.Set("Access-Control-Request-Headers", "authorization,mcp-param-owner, mcp-param-repo,x-other")
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		header := w.Result().Header
		if w.Code != http.StatusNoContent || !strings.Contains(strings.Join(header.Values("Vary"), ","), "Origin") {
			t.Errorf("%q: %d %v", origin, w.Code, header)
		}
		want := ""
		if allowed {
			want = origin
		}
		if got := header.Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("%q: Access-Control-Allow-Origin %q, want %q", origin, got, want)
		}
		names := header.Get("Access-Control-Allow-Headers")
		for _, name := range []string{"Authorization", "Content-Type", "Accept", "Last-Event-ID", "Mcp-Session-Id", "MCP-Protocol-Version", "Mcp-Method", "Mcp-Name", "X-MCP-Toolsets", "X-MCP-Readonly", "Mcp-Param-Owner", "Mcp-Param-Repo"} {
			if allowed != strings.Contains(names, name) {
				t.Errorf("%q: Access-Control-Allow-Headers %q, %s", origin, names, name)
			}
		}
		if strings.Contains(names, "X-Other") || strings.Contains(names, "*") {
			t.Errorf("%q: Access-Control-Allow-Headers %q", origin, names)
		}
		exposed := header.Get("Access-Control-Expose-Headers")
		if allowed && (!strings.Contains(exposed, "Mcp-Session-Id") || !strings.Contains(exposed, "WWW-Authenticate")) {
			t.Errorf("%q: Access-Control-Expose-Headers %q", origin, exposed)
		}
	}
}
