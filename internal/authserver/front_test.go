package authserver_test

import (
	"net/http"
	"strings"
	"testing"
)

// The front page is below the public URL's prefix, and nowhere else.
func TestFrontPage(t *testing.T) {
	for _, prefix := range []string{"", "/x/y"} {
		w := newWorldAt(t, prefix)
		paths := map[string]string{"/": w.url + "/"}
		if prefix != "" {
			paths[""] = w.url
		}
		for path, url := range paths {
			for _, accept := range []string{"text/html,*/*;q=0.8", "*/*", ""} {
				a := w.get(url, "Accept", accept)
				if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "text/html; charset=utf-8" || a.Header.Get("Vary") != "Accept" ||
					a.Header.Get("Cache-Control") != "public, max-age=300" || len(a.Cookies()) != 0 || !strings.Contains(a.Header.Get("Content-Security-Policy"), "default-src 'none'") {
					t.Fatalf("%s%s for %q: %d %v", prefix, path, accept, a.StatusCode, a.Header)
				}
				for _, want := range []string{
					`<code class="copy">` + w.url + "/mcp</code>", `href="` + w.url + `/account"`, `href="` + w.forge.URL + `"`,
					`href="vscode:mcp/install?%7B`, `href="vscode-insiders:mcp/install?%7B`, `href="cursor://anysphere.cursor-deeplink/mcp/install?name=forgejo&amp;config=`,
					`href="lmstudio://add_mcp?name=forgejo&amp;config=`, `id="fewer"`,
					`<code class="copy">` + w.url + "/mcp/readonly</code>", `<code class="copy">` + w.url + "/mcp/x/issues</code>", `<code class="copy">` + w.url + "/mcp/x/issues/readonly</code>", "<code>files</code>", `href="goose://extension?url=http%3A%2F%2F`, "<title>Connect an application",
				} {
					if !strings.Contains(a.body, want) {
						t.Errorf("%s%s: the page lacks %s\n%s", prefix, path, want, a.body)
					}
				}
			}
			head := w.do(newBrowser(), w.request(http.MethodHead, url, ""))
			if head.StatusCode != http.StatusOK || head.body != "" || head.ContentLength < 1000 {
				t.Errorf("HEAD: %d, %d bytes", head.StatusCode, head.ContentLength)
			}
			if again := w.get(url, "If-Modified-Since", head.Header.Get("Last-Modified")); again.StatusCode != http.StatusNotModified {
				t.Errorf("asked again: %d", again.StatusCode)
			}
			// Who forgot the endpoint's path is told of it.
			for method, want := range map[string]int{http.MethodPost: http.StatusMethodNotAllowed, http.MethodDelete: http.StatusMethodNotAllowed, http.MethodGet: http.StatusNotFound} {
				a := w.do(newBrowser(), w.request(method, url, "{}", "Accept", "application/json, text/event-stream"))
				if a.StatusCode != want || a.json(t)["error_description"] != "this is not the MCP endpoint; that is "+w.url+"/mcp" {
					t.Errorf("%s %s: %d %s", method, path, a.StatusCode, a.body)
				}
			}
		}
		icon := w.get(w.url + "/favicon.svg")
		if icon.StatusCode != http.StatusOK || icon.Header.Get("Content-Type") != "image/svg+xml" || !strings.HasPrefix(icon.body, "<svg ") {
			t.Errorf("icon: %d %v", icon.StatusCode, icon.Header)
		}
		if prefix == "" {
			continue
		}
		root := strings.TrimSuffix(w.url, prefix)
		for _, path := range []string{"/", "/x", "/x/", "/favicon.svg", "/x/favicon.svg"} {
			if a := w.get(root+path, "Accept", "text/html"); a.StatusCode != http.StatusNotFound {
				t.Errorf("%s, outside the prefix: %d", path, a.StatusCode)
			}
		}
	}
}

// A server that changes nothing says so.
func TestFrontPageOfAReadingServer(t *testing.T) {
	w := newWorld(t)
	w.scopes = []string{"read:repository", "read:user"}
	w.restart()
	if a := w.get(w.url + "/"); !strings.Contains(a.body, "read what your account can read") || strings.Contains(a.body, "change anything") || !strings.Contains(a.body, "/mcp/x/issues<") || strings.Contains(a.body, "/readonly") {
		t.Error(a.body)
	}
}
