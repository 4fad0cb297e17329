package forgeproxy

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
)

// guardedForge is a forge below /git behind a proxy. It notes what reaches the forge.
type guardedForge struct {
	*Proxy
	mu      sync.Mutex
	reached []string
	header  http.Header // of the last request
	body    string
	refused map[string]control.Reason // by id
}

func routes(t testing.TB, words string) forgeapi.Policy {
	t.Helper()
	p, err := forgeapi.ParsePolicy(words)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func everything(t testing.TB) forgeapi.Policy { return routes(t, "open:everything") }

func newGuarded(t *testing.T, words string) *guardedForge {
	t.Helper()
	g := &guardedForge{}
	g.Proxy = newProxy(t, words, "t", func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // as the forge cannot carry it out
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.reached = append(g.reached, r.Method+" "+r.RequestURI)
		g.header, g.body = r.Header, string(body)
	}, func(r Refusal) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.refused[r.ID] = r.Reason
	})
	g.refused = map[string]control.Reason{}
	g.SetMode(control.ModeReadWrite, nil)
	return g
}

func newProxy(t testing.TB, words, token string, forge http.HandlerFunc, refused func(Refusal)) *Proxy {
	t.Helper()
	s := httptest.NewServer(forge)
	t.Cleanup(s.Close)
	u, err := url.Parse(strings.Replace(s.URL, "127.0.0.1", "forgejo.localhost", 1) + "/git")
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{Forge: u, Token: token, Policy: routes(t, words), Log: slog.New(slog.DiscardHandler), Refused: refused, Forbidden: func(context.Context) {}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	p.SetMode(control.ModeReadWrite, nil)
	return p
}

// send writes a request as it stands to the proxy, as no HTTP client would.
func (g *guardedForge) send(t *testing.T, method, path, header, body string) (int, string) {
	t.Helper()
	c, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "%s http://%s%s HTTP/1.1\r\nHost: %s\r\nProxy-Authorization: %s\r\nContent-Length: %d\r\n%s\r\n%s",
		method, g.origin.url.Host, path, g.origin.url.Host, g.authorization(), len(body), header, body)
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// want sends a request and has it reach the forge, or be refused for a reason of which
// the backend hears, too.
func (g *guardedForge) want(t *testing.T, reason control.Reason, method, path, header, body string) {
	t.Helper()
	g.reached, g.refused = nil, map[string]control.Reason{}
	status, answer := g.send(t, method, path, header, body)
	g.mu.Lock()
	defer g.mu.Unlock()
	if reason == "" {
		if status != http.StatusOK || len(g.reached) != 1 || len(g.refused) != 0 {
			t.Errorf("%s %s with %q did not pass: %d %s", method, path, header, status, answer)
		}
		return
	}
	if status != http.StatusForbidden || len(g.reached) != 0 || len(g.refused) != 1 {
		t.Errorf("%s %s with %q and %q passed: %d %s; reached %q, refused %q", method, path, header, body, status, answer, g.reached, g.refused)
	}
	for id, got := range g.refused {
		if got != reason || method != "HEAD" && !strings.HasPrefix(answer, `{"message":"fjmcp `+id+`: `) {
			t.Errorf("%s %s: reported %s %s, answered %s", method, path, id, got, answer)
		}
	}
}

func TestMethodsByMode(t *testing.T) {
	g := newGuarded(t, "")
	g.rules.force.Store(nil)
	modes := []struct {
		set   control.Mode
		write bool
	}{{"", false}, {control.ModeReadWrite, true}, {control.ModeReadOnly, false}, {control.ModeReadWrite, true}, {"Read_Write", false}}
	for _, mode := range modes {
		if mode.set != "" {
			g.SetMode(mode.set, nil)
		}
		for method, path := range map[string]string{"GET": "/issues", "HEAD": "/issues", "POST": "/issues", "PUT": "/topics", "PATCH": "/issues/1", "DELETE": "/issues/1"} {
			var reason control.Reason
			if method != "GET" && method != "HEAD" && !mode.write {
				reason = control.ReasonReadOnly
			}
			g.want(t, reason, method, "/git/api/v1/repos/a/b"+path, "Content-Type: application/json\r\n", "{}")
		}
	}
}

// In each mode, whatever the way it is written.
func TestClosedRoutes(t *testing.T) {
	g := newGuarded(t, "")
	for _, mode := range []control.Mode{control.ModeReadOnly, control.ModeReadWrite} {
		g.SetMode(mode, nil)
		for _, request := range []string{
			"GET /git/api/v1/user/keys", "POST /git/api/v1/user/keys", "GET /git/api/v1/user/keys?x=/api/v1/user", "POST /git/api/v1/users/alice/tokens",
			"POST /git/api/v1/repos/a/b/hooks", "GET /git/api/v1/repos/a/b/hooks", "POST /git/api/v1/repos/a/b/push_mirrors", "PUT /git/api/v1/repos/a/b/collaborators/eve",
			"POST /git/a/b.git/info/lfs/objects/batch", "POST /git/a/b.git/git-receive-pack", "GET /git/", "GET /git/user/settings", "GET /git/API/v1/User",
			"TRACE /git/api/v1/user", "OPTIONS /git/api/v1/user", "PROPFIND /git/api/v1/user", "get /git/api/v1/user", "CONNECT /git/api/v1/user",
		} {
			method, path, _ := strings.Cut(request, " ")
			if method == "CONNECT" {
				if status, _ := g.send(t, method, path, "", ""); status == http.StatusOK {
					t.Errorf("%s passed", request)
				}
				continue
			}
			g.want(t, control.ReasonDeniedPath, method, path, "", "")
		}
		for _, path := range []string{
			"/git//api/v1/user", "/git/api/v1/user//keys", "/git/api/v1/user\\keys", "/git/api/v1/user/%256beys", "/git/api/v1/user/x/%2e%2e/keys", "/git/../git/api/v1/user",
			"/git/./api/v1/user", "/git/api/v1/repos/a/b/contents/../../../../user/keys", "/git/api/v1/user;x=1",
		} {
			g.want(t, control.ReasonDeniedRequest, "GET", path, "", "")
		}
	}
	g.want(t, "", "GET", "/git/api/v1/repos/a/b/contents/api/v1/admin", "", "")
}

func TestOpenedRoutes(t *testing.T) {
	g := newGuarded(t, "open:webhooks open:git open:lfs")
	g.want(t, "", "POST", "/git/api/v1/repos/a/b/hooks", "Content-Type: application/json\r\n", "{}")
	g.want(t, "", "POST", "/git/a/b.git/git-upload-pack", "Content-Type: application/x-git-upload-pack-request\r\nContent-Encoding: gzip\r\n", "packed")
	if g.header.Get("Content-Encoding") != "gzip" || g.body != "packed" {
		t.Errorf("git's request came as %q with %q", g.header, g.body)
	}
	g.want(t, "", "POST", "/git/a/b.git/info/lfs/objects/batch", "Content-Type: application/vnd.git-lfs+json\r\n", "{}")
	g.want(t, control.ReasonDeniedRequest, "POST", "/git/a/b.git/git-upload-pack", "Content-Type: application/x-www-form-urlencoded\r\n", "sudo=root")
	g.want(t, control.ReasonDeniedPath, "POST", "/git/api/v1/user/keys", "", "")
}

// What makes a server take a request for another user's, or for another one.
func TestHeadersAreDropped(t *testing.T) {
	g := newGuarded(t, "")
	hostile := []string{
		"Cookie", "Sudo", "X-Webauth-User", "X-Real-Ip", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Original-Url", "X-Rewrite-Url", "X-Http-Method-Override",
		"X-Http-Method", "X-Method-Override", "Via", "Range", "If-Range", "Te", "Expect", "Origin", "X-Gitea-Otp", "X-Forgejo-Otp", "Proxy-Authorization", "Connection", "Upgrade", "Http2-Settings", "X-Anything", "Content-Encoding",
	}
	var header strings.Builder
	header.WriteString("Accept: application/json\r\nUser-Agent: test\r\nAuthorization: token stolen\r\nAccept-Encoding: gzip\r\nIf-None-Match: \"x\"\r\n")
	for _, name := range hostile {
		if name == "Upgrade" || name == "Expect" {
			continue
		}
		fmt.Fprintf(&header, "%s: root\r\n", name)
	}
	header.WriteString("Upgrade: h2c\r\nExpect: 100-continue\r\n")
	g.want(t, "", "GET", "/git/api/v1/user", header.String(), "")
	want := map[string]string{"Accept": "application/json", "User-Agent": "test", "Authorization": "token t", "Accept-Encoding": "identity", "If-None-Match": `"x"`}
	for name, values := range g.header {
		if len(values) != 1 || values[0] != want[name] {
			t.Errorf("the forge saw %s: %q", name, values)
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("the forge did not see %q", want)
	}
}

func TestParametersAndBodies(t *testing.T) {
	g := newGuarded(t, "")
	const issues, asset = "/git/api/v1/repos/a/b/issues", "/git/api/v1/repos/a/b/issues/1/assets"
	for _, query := range []string{"sudo=root", "a=1&Sudo=root", "token=x", "access_token=x", "private_token=x", "%73udo=root", "_method=DELETE", "sudo", "a=1;sudo=root", "a=%zz"} {
		g.want(t, control.ReasonDeniedRequest, "GET", issues+"?"+query, "", "")
	}
	g.want(t, "", "GET", issues+"?q=token%3Dx&labels=a,b&state=all", "", "")
	kind := func(s string) string { return "Content-Type: " + s + "\r\n" }
	form := kind("multipart/form-data; boundary=B")
	part := func(disposition string) string {
		return "--B\r\nContent-Disposition: form-data; " + disposition + "\r\nContent-Type: image/png\r\n\r\ncontents\r\n"
	}
	for _, c := range []struct{ path, header, body string }{
		{issues, kind("application/x-www-form-urlencoded"), "sudo=root"},
		{issues, kind("application/json, application/x-www-form-urlencoded"), "{}"},
		{issues, kind("application/json") + kind("application/x-www-form-urlencoded"), "{}"},
		{issues, kind("text/plain"), "{}"},
		{issues, "", "{}"},
		{issues, kind("application/json") + "Content-Encoding: gzip\r\n", "{}"},
		{issues, kind("application/json"), `{"title":"x","sudo":"root"}`},
		{issues, kind("application/json"), ` { "\u0053udo" : "root"}`},
		{issues, kind("application/json"), `{"a":{"b":[1,"}"]},"token":"x"}`},
		{issues, kind("application/json"), `{"a":"` + strings.Repeat(`\"x`, 1<<20) + `","access_token":1}`},
		{issues, form, part(`name="attachment"; filename="x.png"`) + "--B--\r\n"},
		{asset, form, part(`name="attachment"; filename="x.png"`) + part(`name="sudo"`) + "--B--\r\n"},
		{asset, form, part(`name="token"`) + "--B--\r\n"},
		{asset, form, part(`name="sudo"; filename="x.png"`) + "--B--\r\n"},
		{asset, form, part(`name="attachment"`) + "--B--\r\n"},
		{asset, form, "no form"},
		{asset, kind("multipart/form-data"), part(`name="attachment"; filename="x.png"`)},
	} {
		g.want(t, control.ReasonDeniedRequest, "POST", c.path, c.header, c.body)
	}
	body := `{"title":"token","body":"sudo","labels":["token"],"a":{"token":"x"}}`
	g.want(t, "", "POST", issues, kind("application/json; charset=utf-8"), body)
	if g.body != body {
		t.Errorf("the forge got %q", g.body)
	}
	g.want(t, "", "POST", issues, "", "")
	g.want(t, "", "POST", asset+"?name=x.png", form, "preamble\r\n"+part(`name="attachment"; filename="\"x\".png"`)+"--B--\r\n")
	got, err := http.ReadRequest(bufio.NewReader(strings.NewReader("POST / HTTP/1.1\r\nHost: x\r\nContent-Type: " + g.header.Get("Content-Type") + "\r\nContent-Length: " + fmt.Sprint(len(g.body)) + "\r\n\r\n" + g.body)))
	if err != nil || got.ParseMultipartForm(1<<20) != nil {
		t.Fatalf("the forge cannot read %q", g.body)
	}
	files := got.MultipartForm.File["attachment"]
	if len(files) != 1 || files[0].Filename != `"x".png` || files[0].Header.Get("Content-Type") != "image/png" || len(got.MultipartForm.Value) != 0 || strings.Contains(g.body, "preamble") {
		t.Errorf("the forge got %q", g.body)
	}
}

// The connection of an upload in chunks, as forgejo-mcp sends it, is good for the next request.
func TestUploadsInChunks(t *testing.T) {
	p := newProxy(t, "", "t", func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }, nil)
	at, err := url.Parse(p.URL())
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(at)}}
	defer client.CloseIdleConnections()
	for i := range 500 {
		r, w := io.Pipe()
		form := multipart.NewWriter(w)
		go func() {
			part, err := form.CreateFormFile("attachment", "x.png")
			if err == nil {
				_, err = io.WriteString(part, "contents")
			}
			w.CloseWithError(cmp.Or(err, form.Close()))
		}()
		resp, err := client.Post(p.origin.url.String()+"/api/v1/repos/a/b/issues/1/assets", form.FormDataContentType(), r)
		if err != nil {
			t.Fatalf("upload %d: %v", i, err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("upload %d: %s", i, resp.Status)
		}
	}
}

func TestRefusedBodiesAreRead(t *testing.T) {
	g := newGuarded(t, "")
	g.want(t, control.ReasonDeniedPath, "POST", "/git/api/v1/user/keys", "", strings.Repeat("x", 1<<20))
}

func TestNoUserInTheURL(t *testing.T) {
	g := newGuarded(t, "")
	c, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET http://root:secret@%s/git/api/v1/user HTTP/1.1\r\nHost: %s\r\nProxy-Authorization: %s\r\n\r\n", g.origin.url.Host, g.origin.url.Host, g.authorization())
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != http.StatusForbidden || slices.Contains(g.reached, "GET /git/api/v1/user") {
		t.Errorf("got %v, %v; the forge saw %q", resp, err, g.reached)
	}
}

// Each route of the table reaches the forge as it was sent, if it is open, and each does
// when the operator opens everything. For forgejo-mcp itself TestRealToolsThroughTheProxy
// of package sandbox holds that.
func TestTableThroughTheProxy(t *testing.T) {
	parameter := strings.NewReplacer("{filepath...}", "docs/a%20b%25.txt", "{", "", "...}", "%2Fx", "}", "")
	for _, words := range []string{"", "open:everything"} {
		g := newGuarded(t, words)
		for _, r := range forgeapi.Routes() {
			path := "/git" + parameter.Replace(r.Path)
			header, body := "Content-Type: application/json\r\n", `{"title":"x"}`
			if r.Method == http.MethodGet {
				header, body = "", ""
			}
			var reason control.Reason
			if !r.Open && words == "" {
				reason = control.ReasonDeniedPath
			}
			g.want(t, reason, r.Method, path, header, body)
			if reason == "" && (len(g.reached) != 1 || g.reached[0] != r.Method+" "+path || g.body != body) {
				t.Errorf("%s %s reached the forge as %q with %q", r.Method, path, g.reached, g.body)
			}
		}
	}
}
