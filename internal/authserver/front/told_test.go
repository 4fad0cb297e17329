package front

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
)

const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

func ask(h http.Handler, method, accept string, contentType ...string) *httptest.ResponseRecorder {
	r, w := httptest.NewRequest(method, "/x", nil), httptest.NewRecorder()
	r.Header["Content-Type"] = contentType
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	h.ServeHTTP(w, r)
	return w
}

// Status and headers stay; the body is a page for browsers, and as it was for all others.
func TestPages(t *testing.T) {
	const body = `{"error":"secret detail"}`
	for status := 400; status < 600; status++ {
		h := Pages(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", "Bearer x")
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			w.Header().Set("Vary", "Origin")
			w.WriteHeader(status)
			n, err := io.WriteString(w, body)
			if n != len(body) || err != nil {
				t.Errorf("the handler is told %d, %v", n, err)
			}
		}), pages.Frame{Site: "Example", Home: "https://mcp.example.org"})
		for _, accept := range []string{"", "*/*", "application/json", "application/json, text/event-stream", "text/event-stream", "text/event-stream, text/html"} {
			w := ask(h, http.MethodGet, accept)
			if w.Code != status || w.Body.String() != body || w.Header().Get("Content-Type") != "application/json" || len(w.Header()) != 4 {
				t.Fatalf("%d for %q: %d %v %s", status, accept, w.Code, w.Header(), w.Body)
			}
		}
		w := ask(h, http.MethodGet, browser)
		page := w.Body.String()
		if w.Code != status || w.Header().Get("WWW-Authenticate") != "Bearer x" || w.Header().Get("Content-Length") != "" ||
			!strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") || strings.Join(w.Header().Values("Vary"), " ") != "Origin Accept" ||
			!strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Fatalf("%d for a browser: %d %v", status, w.Code, w.Header())
		}
		if strings.Contains(page, "secret") || strings.Contains(page, "<h1></h1>") || strings.Contains(page, "<p></p>") ||
			!strings.Contains(page, `<a class="button first" href="https://mcp.example.org/">How to connect an application</a>`) {
			t.Fatalf("%d for a browser:\n%s", status, page)
		}
	}
}

func TestPagesOfTheirOwnStay(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"a page that says no": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "own")
		},
		"no status at all": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "own") },
		"a hint before it": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusOK)
			_, _ = io.WriteString(w, "own")
		},
		"a second status": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "own")
			w.WriteHeader(http.StatusNotFound)
		},
	} {
		if w := ask(Pages(handler, pages.Frame{}), http.MethodGet, browser); w.Body.String() != "own" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

// What no browser goes to an address with keeps the words for programs, also of one that
// says it wants a page.
func TestNavigation(t *testing.T) {
	for _, tc := range []struct {
		method, contentType string
		page                bool
	}{
		{"GET", "", true}, {"HEAD", "", true}, {"POST", "application/x-www-form-urlencoded", true}, {"POST", "multipart/form-data; boundary=x", true},
		{"POST", "text/plain", true}, {"POST", "application/json", false}, {"POST", "", false}, {"PUT", "text/plain", false}, {"DELETE", "", false}, {"OPTIONS", "", false},
	} {
		w := ask(Pages(http.NotFoundHandler(), pages.Frame{}), tc.method, browser, tc.contentType)
		if page := strings.HasPrefix(w.Header().Get("Content-Type"), "text/html"); page != tc.page || w.Code != http.StatusNotFound {
			t.Errorf("%s %s: %d, a page: %t", tc.method, tc.contentType, w.Code, page)
		}
	}
}

// Over a real connection: a stream is flushed, and HEAD gets what GET gets without a body.
func TestPagesOverHTTP(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stream", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first\n")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		<-r.Context().Done()
	})
	server := httptest.NewServer(Pages(mux, pages.Frame{}))
	t.Cleanup(server.Close) // after the bodies are closed, which end the stream
	do := func(method, path string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", browser)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	first := make([]byte, 6)
	if _, err := io.ReadFull(do(http.MethodGet, "/stream").Body, first); err != nil || string(first) != "first\n" {
		t.Errorf("%q, %v", first, err)
	}
	for method, want := range map[string]int{http.MethodHead: http.StatusNotFound, http.MethodGet: http.StatusNotFound} {
		resp := do(method, "/nothing")
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != want || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") || (len(body) > 0) != (method == http.MethodGet) {
			t.Errorf("%s: %s %v %d bytes, %v", method, resp.Status, resp.Header, len(body), err)
		}
	}
	if resp := do(http.MethodPut, "/stream"); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
}

func TestWaiting(t *testing.T) {
	for wait, want := range map[string]string{
		"1": "Try again in 1 second.", "60": "Try again in 60 seconds.", "91": "Try again in 2 minutes.", "0": "Try again in 1 second.",
		"": "network.", "Wed, 21 Oct 2026 07:28:00 GMT": "network.",
	} {
		if m := message(http.StatusTooManyRequests, wait, ""); !strings.HasSuffix(m.Text, want) || m.Actions != nil {
			t.Errorf("%q: %q %v", wait, m.Text, m.Actions)
		}
	}
}
