package integration

import (
	"net/http"
	"strings"
	"testing"
)

// What is for programs is told to people by a page with the same status and headers, and to
// no program: neither one that says what it wants nor one that takes anything.
func TestPagesForPeopleAlone(t *testing.T) {
	w := start(t, "standin")
	token := w.token(w.mustConnect("alice"))
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	for _, tc := range []struct {
		method, path, token string
		header              []string
		status              int
		title               string
	}{
		{"GET", "/mcp", "", nil, 401, "This address is for MCP clients"},
		{"GET", "/mcp/", "", nil, 401, "This address is for MCP clients"},
		{"GET", "/sse", "", nil, 401, "This address is for MCP clients"},
		{"GET", "/mcp", "mcp_at_nonsense", nil, 401, "This address is for MCP clients"},
		{"GET", "/mcp", token, []string{"Origin", "https://evil.example"}, 403, "Not allowed"},
		{"GET", "/nothing", "", nil, 404, "There is nothing here"},
		{"GET", "/.well-known/nothing", "", nil, 404, "There is nothing here"},
		{"GET", "/oauth/token", "", nil, 405, "This address is for programs"},
		{"GET", "/oauth/introspect", "", nil, 405, "This address is for programs"},
		{"POST", "/", "", form, 405, "This address is for programs"},
		{"POST", "/mcp", "", form, 401, "This address is for MCP clients"},
	} {
		ask := func(accept string) response {
			t.Helper()
			r := w.doAt(tc.method, tc.path, tc.token, "", append([]string{"Accept", accept}, tc.header...)...)
			if r.status != tc.status {
				t.Errorf("%s %s for %q: %d, want %d", tc.method, tc.path, accept, r.status, tc.status)
			}
			return r
		}
		page := ask(browser)
		if !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") || !strings.Contains(page.body, "<h1>"+tc.title+"</h1>") ||
			!strings.Contains(page.body, `href="`+w.url+`/"`) || !strings.Contains(page.header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s %s for a browser: %v\n%s", tc.method, tc.path, page.header, page.body)
		}
		for _, accept := range []string{"application/json, text/event-stream", "text/event-stream", "application/json", "*/*"} {
			r := ask(accept)
			if strings.Contains(r.header.Get("Content-Type"), "html") || strings.Contains(r.body, "<h1>") {
				t.Errorf("%s %s for %q is a page", tc.method, tc.path, accept)
			}
			for _, name := range []string{"WWW-Authenticate", "Allow", "Retry-After", "Access-Control-Allow-Origin"} {
				if got, want := page.header.Get(name), r.header.Get(name); got != want {
					t.Errorf("%s %s: a browser gets %s: %q, and %q gets %q", tc.method, tc.path, name, got, accept, want)
				}
			}
		}
		if tc.status == http.StatusUnauthorized && !strings.Contains(page.header.Get("WWW-Authenticate"), "resource_metadata=") {
			t.Errorf("%s %s: no challenge", tc.method, tc.path)
		}
	}
	if r := w.doAt("GET", "/healthz", "", "", "Accept", browser); !strings.HasPrefix(r.body, "{") {
		t.Errorf("health is told by a page: %s", r.body)
	}
}
