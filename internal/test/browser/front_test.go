package browser

import (
	"strings"
	"testing"
)

// Who knows the address alone gets to a connected client and to the account page.
func TestFrontPage(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(t)
	b.open(w.url)
	host := strings.TrimPrefix(w.url, "https://")
	b.see("Connect an application – "+host, "With one click", "VS Code", "claude mcp add --scope user --transport http forgejo "+w.url+"/mcp",
		"Any other application", "Fewer tools", w.url+"/mcp/x/issues/readonly", strings.TrimPrefix(w.forge.URL, "http://"))
	b.inspect("front")
	b.press("Show my applications")
	b.see("Log in to see which applications")
	b.press(host) // in the header
	b.see("With one click")
}

// Each thing that a person can open by mistake is a page that leads back.
func TestOpenedByMistake(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(t)
	for _, tc := range []struct{ name, path, says string }{
		{"mcp", "/mcp", "This address is for MCP clients"},
		{"sse", "/sse", "This address is for MCP clients"},
		{"nothing", "/nothing/here", "There is nothing here"},
		{"token", "/oauth/token", "This address is for programs"},
		{"disconnect", "/account/disconnect", "This address is for programs"},
	} {
		b.open(w.url + tc.path)
		b.see(tc.says)
		b.inspect("opened-" + tc.name)
		b.press("How to connect an application")
		b.see("With one click")
	}
}
