package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/localhost"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/localbroker"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
	"github.com/fjmcp/fjmcp-broker/internal/test/programs"
	"github.com/fjmcp/fjmcp-broker/internal/test/testlog"
)

// bin holds the programs under test.
var bin string

func TestMain(m *testing.M) {
	os.Exit(programs.Main(m, &bin, "fjmcp-broker", "fjmcp-session", "fjmcpctl", programs.Standin, programs.Old, programs.Everything, programs.Held))
}

// world is a forge and a broker.
type world struct {
	t         *testing.T
	forge     *fakeforge.Server
	broker    *localbroker.Broker
	url       string // the public one
	dir       string
	log       *testlog.Buffer
	transport *http.Transport
}

// start runs a broker with the named backend of bin (or an absolute path) and
// further settings.
func start(t *testing.T, backend string, env ...string) *world {
	t.Helper()
	return startAt(t, "", backend, env...)
}

// startAt is start with a path prefix in the public URL.
func startAt(t *testing.T, prefix, backend string, env ...string) *world {
	t.Helper()
	log := &testlog.Buffer{}
	w := startLogging(t, log, prefix, backend, env...)
	w.log = log
	return w
}

// startLogging is startAt with standard error elsewhere.
func startLogging(t *testing.T, log io.Writer, prefix, backend string, env ...string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), log: &testlog.Buffer{}, transport: &http.Transport{DialContext: new(localhost.Dialer).DialContext}}
	var err error
	if w.forge, err = localbroker.StartForge("0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.forge.Stop)
	if !filepath.IsAbs(backend) {
		backend = filepath.Join(bin, backend)
	}
	w.broker, err = localbroker.Start(t.Context(), localbroker.Config{
		Program: w.program(), Backend: backend, Port: "0", Prefix: prefix, Dir: w.dir, Env: env, Forge: w.forge, Log: log,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	w.url = w.broker.URL + prefix
	t.Cleanup(func() {
		w.broker.Stop(syscall.SIGTERM)
		w.transport.CloseIdleConnections()
		if t.Failed() {
			t.Logf("the broker's log:\n%s", w.log)
		}
	})
	return w
}

func (w *world) program() string { return filepath.Join(bin, "fjmcp-broker") }

// connect logs user in as a new client.
func (w *world) connect(user string) (*loginclient.Client, error) {
	b := loginclient.NewBrowser(w.transport, user, user+"-password")
	return loginclient.Connect(w.t.Context(), loginclient.Config{MCPURL: w.url + "/mcp", Transport: w.transport, Browser: b})
}

func (w *world) mustConnect(user string) *loginclient.Client {
	w.t.Helper()
	c, err := w.connect(user)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// call calls a tool and returns its text.
func call(ctx context.Context, c *loginclient.Client, tool string, args map[string]any) (string, error) {
	r, err := c.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, content := range r.Content {
		if t, ok := content.(*mcp.TextContent); ok {
			text.WriteString(t.Text)
		}
	}
	if r.IsError {
		return "", fmt.Errorf("tool error: %s", text.String())
	}
	return text.String(), nil
}

func (w *world) mustCall(c *loginclient.Client, tool string, args map[string]any, want string) {
	w.t.Helper()
	got, err := call(w.t.Context(), c, tool, args)
	if err != nil || !strings.Contains(got, want) {
		w.t.Fatalf("%s gave %q, %v; want %q in it", tool, got, err, want)
	}
}

// sessions is what `fjmcpctl sessions list --json` says.
func (w *world) sessions() string {
	out, err := exec.Command(filepath.Join(bin, "fjmcpctl"), "sessions", "list", "--json", "--socket", filepath.Join(w.dir, "state", "admin.sock")).CombinedOutput()
	if err != nil {
		return err.Error() + ": " + string(out)
	}
	return string(out)
}

// response is what a bare HTTP client sees.
type response struct {
	status int
	header http.Header
	body   string
}

// post sends a raw message to /mcp. A header with an empty value is left out.
func (w *world) post(token, session, body string, header ...string) response {
	w.t.Helper()
	return w.do("POST", token, session, body, header...)
}

func (w *world) do(method, token, session, body string, header ...string) response {
	w.t.Helper()
	if session != "" {
		header = append([]string{"Mcp-Session-Id", session}, header...)
	}
	return w.doAt(method, "/mcp", token, body, header...)
}

// doAt is do for any path below the public URL.
func (w *world) doAt(method, path, token, body string, header ...string) response {
	w.t.Helper()
	resp, err := (&http.Client{Transport: w.transport}).Do(w.request(w.t.Context(), method, path, token, body, header...))
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return response{resp.StatusCode, resp.Header, string(b)}
}

func (w *world) request(ctx context.Context, method, path, token, body string, header ...string) *http.Request {
	w.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i+1] == "" {
			r.Header.Del(header[i])
		}
	}
	return r
}

func (w *world) token(c *loginclient.Client) string {
	w.t.Helper()
	token, err := c.AccessToken(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// parse reads the parts of a notification that tests look at.
func parse(data string) (m struct {
	Params struct{ Progress int }
}, err error) {
	err = json.Unmarshal([]byte(data), &m)
	return m, err
}
