package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// contains tells whether any of the parts is in text.
func contains(text string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(text, part) })
}

// lines are the lines of text that are not empty.
func lines(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for line := range strings.Lines(text) {
			if line = strings.TrimSuffix(line, "\n"); line != "" && !yield(line) {
				return
			}
		}
	}
}

// behind runs a test behind each proxy.
func behind(t *testing.T, test func(t *testing.T, start func(w *world, edits ...edit) *proxy)) {
	for _, p := range proxies {
		t.Run(p.name, func(t *testing.T) { test(t, p.start) })
	}
}

// A login and a call through TLS, and one with a body of 2 MB.
func TestLoginAndCall(t *testing.T) {
	behind(t, func(t *testing.T, run func(*world, ...edit) *proxy) {
		w := start(t, "standin")
		p := run(w)
		c := w.mustConnect(p, "alice")
		w.mustCall(c, "get_my_user_info", nil, `"login":"alice"`)
		body := strings.Repeat("a line of text\n", 2<<20/15)
		w.mustCall(c, "create_issue", map[string]any{"owner": "alice", "repo": "hello", "title": "long", "body": body}, "long")
		if status, header, _ := w.send(w.http(p, "127.0.0.1"), http.MethodGet, "http://"+name+"/livez?x=y", ""); status != 200 {
			t.Errorf("http gave %d %v", status, header)
		}
	})
}

// The backend asks its client something in the midst of a call: the question is the first
// event of the answer, and nothing follows before the client has replied to it.
func TestAnswersAreStreamed(t *testing.T) {
	behind(t, func(t *testing.T, run func(*world, ...edit) *proxy) {
		w := start(t, "everything")
		p := run(w)
		c, err := w.connect(p, "alice", &mcp.ClientOptions{
			ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
				return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"username": "carol", "email": "carol@example.org"}}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		w.mustCall(c, "test_elicitation", map[string]any{"message": "who?"}, "accept")
	})
}

// Each user's requests count for the address they come from, whatever a client writes
// into X-Forwarded-For.
func TestAddressesReachTheBroker(t *testing.T) {
	behind(t, func(t *testing.T, run func(*world, ...edit) *proxy) {
		w := start(t, "standin")
		p := run(w)
		one, other := w.http(p, "127.0.0.2"), w.http(p, "127.0.0.3")
		claim := []string{"X-Forwarded-For", "203.0.113.1", "Forwarded", "for=203.0.113.1"}
		if n := w.registerUntilRefused(one); n < 100 {
			t.Errorf("127.0.0.2 was refused after %d registrations", n)
		}
		if n := w.registerUntilRefused(one, claim...); n > 60 { // what is forgiven meanwhile
			t.Errorf("127.0.0.2 claims to be another and is refused after %d more", n)
		}
		if status, body := w.register(other); status != http.StatusCreated {
			t.Errorf("127.0.0.3 gets %d %s", status, body)
		}
		w.until("the limit is audited", func() bool {
			return contains(w.log.String(), `FJMCP_OUTCOME=register FJMCP_DETAIL="from 127.0.0.2:`)
		})
	})
}

// registerUntilRefused registers clients and returns how many there were before one
// was refused.
func (w *world) registerUntilRefused(client *http.Client, header ...string) int {
	w.t.Helper()
	for n := range 1000 {
		if status, body := w.register(client, header...); status == http.StatusTooManyRequests {
			return n
		} else if status != http.StatusCreated {
			w.t.Fatalf("registration %d gave %d %s", n, status, body)
		}
	}
	w.t.Fatal("1000 registrations were let through")
	return 0
}

func (w *world) register(client *http.Client, header ...string) (int, string) {
	w.t.Helper()
	status, _, body := w.send(client, http.MethodPost, w.url+"/oauth/register", `{"redirect_uris":["http://127.0.0.1/cb"]}`,
		append(header, "Content-Type", "application/json")...)
	return status, body
}

// The broker makes every URL from FJMCP_BROKER_PUBLIC_URL, whatever the proxy or the
// client says of host and scheme.
func TestURLsComeFromThePublicURLAlone(t *testing.T) {
	w := start(t, "standin")
	direct := w.direct()
	for _, header := range [][]string{
		nil, {"Host", "evil.example"}, {"Host", "localhost"}, {"X-Forwarded-Host", "evil.example"}, {"X-Forwarded-Proto", "http"},
		{"Forwarded", "host=evil.example;proto=http"}, {"X-Forwarded-Prefix", "/evil"}, {"X-Original-URL", "/evil"},
	} {
		for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource/mcp", "/mcp"} {
			_, h, body := w.send(direct, http.MethodGet, "http://broker"+path, "", header...)
			all := body + h.Get("WWW-Authenticate")
			if contains(all, "evil", "//localhost", "//broker", "http://mcp") || !contains(all, `"`+public) {
				t.Errorf("%s with %v gives %v %s", path, header, h, body)
			}
		}
	}
	behind(t, func(t *testing.T, run func(*world, ...edit) *proxy) {
		w := start(t, "standin")
		p := run(w)
		_, _, body := w.get(w.http(p, "127.0.0.1"), "/.well-known/oauth-authorization-server", "X-Forwarded-Host", "evil.example")
		var metadata struct{ Issuer string }
		if err := json.Unmarshal([]byte(body), &metadata); err != nil || metadata.Issuer != public || contains(body, "evil") {
			t.Errorf("got %s", body)
		}
	})
}

// Nothing that the proxy writes, in success or failure, holds a secret of a login, of a
// session or of a call.
func TestLogsHoldNoSecret(t *testing.T) {
	behind(t, func(t *testing.T, run func(*world, ...edit) *proxy) {
		w := start(t, "standin")
		p := run(w)
		c := w.mustConnect(p, "alice")
		w.mustCall(c, "get_my_user_info", nil, `"login":"alice"`)
		client := w.http(p, "127.0.0.1")
		w.withSecrets(client, 400) // a login that is unknown
		w.broker.Stop(syscall.SIGTERM)
		w.listen.Close()
		w.withSecrets(client, 502)
		p.stop()

		kinds := w.heard.kinds()
		for _, want := range []string{"code", "state", "code_verifier", "code_challenge", "client_secret", "access_token", "refresh_token", "Authorization", "cookie", "Mcp-Session-Id", "canary"} {
			if !kinds[want] {
				t.Errorf("no %s was heard, only %v", want, kinds)
			}
		}
		w.searchLogs(p)
		p.checkAccessLog()
	})
}

// withSecrets sends secrets wherever a request can carry some.
func (w *world) withSecrets(client *http.Client, want int) {
	w.t.Helper()
	canary := func(name string) string {
		secret := "canary-" + name + "-0123456789"
		w.heard.note("canary", secret)
		return secret
	}
	query := url.Values{"code": {canary("code")}, "state": {canary("state")}, "access_token": {canary("token")}}.Encode()
	header := []string{
		"Authorization", "Bearer " + canary("bearer"), "Cookie", "__Host-fjmcp-browser=" + canary("cookie"), "Proxy-Authorization", "Basic " + canary("basic"),
		"Referer", public + "/oauth/authorize?state=" + canary("referer"), "Mcp-Param-Title", canary("argument"), "Last-Event-ID", canary("event"),
	}
	status, _, body := w.get(client, "/oauth/callback?"+query, header...)
	if status != want {
		w.t.Errorf("the callback gave %d %s, want %d", status, body, want)
	}
	w.get(client, "/messages?"+query, header...)
	w.send(client, http.MethodPost, w.url+"/oauth/token?"+query, query, append(header, "Content-Type", "application/x-www-form-urlencoded")...)
	if _, err := client.Do(request(w.t, http.MethodGet, "http://"+name+"/oauth/callback?"+query, "", header...)); err != nil { // redirected
		w.t.Error(err)
	}
}

// searchLogs looks for every secret in all that the proxy and the broker wrote.
func (w *world) searchLogs(p *proxy) {
	w.t.Helper()
	texts := map[string]string{"the proxy's output": p.output.String(), "the broker's log": w.log.String()}
	for _, root := range []string{"/var/log", "/run", filepath.Join(w.dir, "nginx")} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			texts[path] = string(b)
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.t.Fatal(err)
		}
	}
	if texts[p.log] == "" {
		w.t.Errorf("%s is empty", p.log)
	}
	for place, text := range texts {
		if found := w.heard.in(text); len(found) > 0 {
			w.t.Errorf("%s holds a secret: %v", place, found)
		}
		if strings.Contains(text, "eyJhbGciOi") { // how Forgejo's tokens begin
			w.t.Errorf("%s holds a token of the forge", place)
		}
	}
}

// checkAccessLog wants a line of JSON for each request, with what an operator looks for.
func (p *proxy) checkAccessLog() {
	p.t.Helper()
	text, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range lines(string(text)) {
		if !json.Valid([]byte(line)) {
			p.t.Errorf("not JSON: %s", line)
		}
	}
	for _, want := range []string{"/oauth/register", "/oauth/authorize", "/oauth/callback", "/oauth/token", "/mcp", `"status":200`, `"status":502`, "127.0.0.1", "POST"} {
		if !strings.Contains(string(text), want) {
			p.t.Errorf("%s has no %s:\n%s", p.log, want, text)
		}
	}
}
