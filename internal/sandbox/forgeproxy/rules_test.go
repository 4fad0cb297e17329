package forgeproxy

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/sandbox/denypath"
)

// guarded is a proxy for a forge below /git that notes what reaches the forge.
type guarded struct {
	*Proxy
	mu      sync.Mutex
	reached []string
	refused map[string]control.Reason // by id
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{refused: map[string]control.Reason{}}
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.reached = append(g.reached, r.Method+" "+r.RequestURI+r.Header.Get("Upgrade"))
	}))
	t.Cleanup(s.Close)
	forge, err := url.Parse(strings.Replace(s.URL, "127.0.0.1", "forgejo.localhost", 1) + "/git")
	if err != nil {
		t.Fatal(err)
	}
	denied, err := denypath.Parse("")
	if err != nil {
		t.Fatal(err)
	}
	g.Proxy, err = New(Config{
		Forge: forge, Token: "t", Denied: denied, Log: slog.New(slog.DiscardHandler),
		Refused: func(reason control.Reason, id string) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.refused[id] = reason
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

// send writes a request as it stands to the proxy, as no HTTP client would.
func (g *guarded) send(t *testing.T, method, path, header, body string) (int, string) {
	t.Helper()
	c, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "%s http://%s%s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n%s\r\n%s",
		method, g.origin.url.Host, path, g.origin.url.Host, len(body), header, body)
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// count returns how many requests reached the forge and how many were reported
// as refused.
func (g *guarded) count() (reached, refused int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.reached), len(g.refused)
}

func TestMethodsByMode(t *testing.T) {
	g := newGuarded(t)
	modes := []struct {
		set   control.Mode
		write bool
	}{{"", false}, {control.ModeReadWrite, true}, {control.ModeReadOnly, false}, {control.ModeReadWrite, true}, {"Read_Write", false}}
	for _, mode := range modes {
		if mode.set != "" {
			g.SetMode(mode.set)
		}
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get", "Get"} {
			reached, refused := g.count()
			status, body := g.send(t, method, "/git/api/v1/repos/a/b/issues", "", "{}")
			nowReached, nowRefused := g.count()
			if method == "GET" || method == "HEAD" || mode.write {
				if status != http.StatusOK || nowReached != reached+1 || nowRefused != refused {
					t.Errorf("mode %q: %s did not pass: %d %s", mode.set, method, status, body)
				}
				continue
			}
			if status != http.StatusForbidden || nowReached != reached || nowRefused != refused+1 || !strings.Contains(body, "this connection is read-only") {
				t.Errorf("mode %q: %s was not refused: %d %s", mode.set, method, status, body)
			}
		}
	}
}

// The answer carries the id that was reported.
func TestRefusalIsReported(t *testing.T) {
	g := newGuarded(t)
	_, body := g.send(t, "POST", "/git/api/v1/user/repos", "", strings.Repeat("x", 1<<20))
	for id, reason := range g.refused {
		if reason != control.ReasonReadOnly || !strings.HasPrefix(body, `{"message":"fjmcp `+id+`: `) {
			t.Errorf("reported %s %s, answered %s", reason, id, body)
		}
	}
	if len(g.refused) != 1 {
		t.Errorf("%d reports", len(g.refused))
	}
}

func TestDeniedPathsInAllModes(t *testing.T) {
	g := newGuarded(t)
	for _, mode := range []control.Mode{control.ModeReadOnly, control.ModeReadWrite} {
		g.SetMode(mode)
		for _, path := range []string{
			"/git/api/v1/user/keys", "/git/api/v1/user/keys/", "/git/api/v1/user/keys?x=/api/v1/user", "/git/api/v1/user//applications/oauth2",
			"/git/api/v1/users/alice/tokens", "/git/API/v1/Admin/users", "/git/api/v1/user%2fgpg_keys", "/git/api/v1/user/%256beys",
			"/git/api/v1/repos/a/b/contents/../../../../user/keys", "/git/./api/v1/admin", "/git/api/v1/user/x/%2e%2e/keys", "/git/api/v1/user\\keys",
		} {
			for _, method := range []string{"GET", "POST"} {
				status, body := g.send(t, method, path, "", "")
				if status != http.StatusForbidden || !strings.Contains(body, "is closed to MCP clients") {
					t.Errorf("%s %s in mode %s: %d %s", method, path, mode, status, body)
				}
			}
		}
	}
	if status, _ := g.send(t, "GET", "/git/api/v1/repos/a/b/contents/api/v1/admin", "", ""); status != http.StatusOK {
		t.Errorf("a file's path is taken for the API's: %d", status)
	}
	if len(g.reached) != 1 {
		t.Errorf("the forge was reached by %q", g.reached)
	}
}

func TestNoUpgrade(t *testing.T) {
	g := newGuarded(t)
	status, _ := g.send(t, "GET", "/git/x", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n", "")
	if status != http.StatusOK || fmt.Sprint(g.reached) != "[GET /git/x]" {
		t.Errorf("got %d, the forge saw %q", status, g.reached)
	}
}
