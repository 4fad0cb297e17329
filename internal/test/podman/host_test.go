package podman

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

const (
	top          = "../../.."
	forgeIP      = "192.0.2.10" // of this host, in the tests' network
	forgeAddress = forgeIP + ":3000"
	publicURL    = "http://127.0.0.1:8080"
	container    = "fjmcp-broker"
)

// host is a machine with Podman and a forge, and the container on it.
type host struct {
	t         *testing.T
	forge     *fakeforge.Forge
	forgeURL  string
	app       fakeforge.App
	env       string // the file of settings
	transport *http.Transport

	mu     sync.Mutex
	tokens []string // that came to the forge's API
}

// start does what docs/deploy-podman.md says, up to a broker that is healthy.
func start(t *testing.T) *host {
	t.Helper()
	h := prepareHost(t)
	for _, line := range documented(t) {
		h.follow(line)
	}
	h.untilHealthy()
	return h
}

// prepareHost has a forge, and the settings filled in.
func prepareHost(t *testing.T) *host {
	t.Helper()
	return prepareHostWith(t, "http://"+forgeAddress, nil)
}

// prepareHostWith has the forge at that URL, over TLS if config is not nil.
func prepareHostWith(t *testing.T, forgeURL string, config *tls.Config) *host {
	t.Helper()
	if missing != nil {
		t.Skip("SKIP: " + missing.Error())
	}
	h := &host{t: t, forgeURL: forgeURL, transport: &http.Transport{}, env: filepath.Join(t.TempDir(), "fjmcp-broker.env")}
	var err error
	h.forge, err = fakeforge.New(fakeforge.Config{URL: forgeURL})
	h.must(err)
	h.app, err = h.forge.Register(fakeforge.App{Name: "fjmcp", RedirectURIs: []string{publicURL + "/oauth/callback"}})
	h.must(err)
	l, err := net.Listen("tcp", forgeAddress)
	h.must(err)
	if config != nil {
		l = tls.NewListener(l, config)
	}
	server := &http.Server{Handler: h}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	h.settings(filepath.Join(top, "packaging/podman/fjmcp-broker.env"), h.env)
	t.Cleanup(h.clear)
	return h
}

// ServeHTTP is the forge's, and remembers the tokens it is given.
func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.HasPrefix(r.URL.Path, fakeforge.APIPath) && token != "" {
		h.mu.Lock()
		if !slices.Contains(h.tokens, token) {
			h.tokens = append(h.tokens, token)
		}
		h.mu.Unlock()
	}
	h.forge.ServeHTTP(w, r)
}

// settings fills in a copy of the file of settings, as an operator does.
func (h *host) settings(from, to string) {
	h.t.Helper()
	text, err := os.ReadFile(from)
	h.must(err)
	for name, value := range map[string]string{"PUBLIC_URL": publicURL, "FORGEJO_URL": h.forgeURL, "FORGEJO_CLIENT_ID": h.app.ClientID} {
		empty := []byte("\nFJMCP_BROKER_" + name + "=\n")
		if !bytes.Contains(text, empty) {
			h.t.Fatalf("%s has no line %s", from, empty)
		}
		text = bytes.Replace(text, empty, append(empty[:len(empty)-1:len(empty)-1], value+"\n"...), 1)
	}
	h.must(os.WriteFile(to, text, 0o644))
}

// documented returns the four commands of the page.
func documented(t *testing.T) []string {
	t.Helper()
	lines := blocks(t, "Four commands")[0]
	if len(lines) != 4 {
		t.Fatalf("the page has not four commands but %q", lines)
	}
	return lines
}

// blocks returns the commands in a section of docs/deploy-podman.md.
func blocks(t *testing.T, section string) (all [][]string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(top, "docs/deploy-podman.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "\n## "+section+"\n")
	rest, _, _ = strings.Cut(rest, "\n## ")
	for _, part := range strings.Split(rest, "\n```sh\n")[1:] {
		block, _, _ := strings.Cut(part, "\n```\n")
		all = append(all, strings.Split(block, "\n"))
	}
	if len(all) == 0 {
		t.Fatalf("the page has no commands in %q", section)
	}
	return all
}

// built is the image of the version that tests begin with.
var built sync.Once

// follow carries out a documented command. What it reads is the client secret.
func (h *host) follow(line string) {
	h.t.Helper()
	if line != "make image" {
		h.sh(line)
		return
	}
	built.Do(func() { h.sh(line) })
}

const version = "0.1.0"

func (h *host) sh(line string, env ...string) {
	h.t.Helper()
	h.shIn(top, line, env...)
}

func (h *host) shIn(dir, line string, env ...string) {
	h.t.Helper()
	flags, err := imageFlags()
	h.must(err)
	cmd := exec.CommandContext(h.t.Context(), "sh", "-c", line)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "VERSION="+version, "IMAGE_FLAGS="+flags, "IMAGE_ENV="+h.env), env...)
	cmd.Stdin = strings.NewReader(h.app.ClientSecret + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

// clear leaves nothing of the test but images.
func (h *host) clear() {
	if h.t.Failed() {
		out, _ := exec.Command("podman", "logs", container).CombinedOutput()
		h.t.Logf("the container's log:\n%s", out)
	}
	h.transport.CloseIdleConnections()
	_, err := podman("rm", "--all", "--force", "--time", "0")
	_, err2 := podman("volume", "prune", "--force")
	_, err3 := podman("secret", "rm", "--all")
	if err := errors.Join(err, err2, err3); err != nil {
		h.t.Error(err)
	}
}

// podman runs it, and returns its output.
func (h *host) podman(args ...string) string {
	h.t.Helper()
	out, err := podman(args...)
	h.must(err)
	return out
}

func (h *host) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// until waits for a condition, as long as the container runs.
func (h *host) until(what string, met func() bool) {
	h.t.Helper()
	for !met() {
		if state := h.podman("inspect", "--format", "{{.State.Status}}", container); state != "running" && state != "created" {
			h.t.Fatalf("the container is %s; waited until %s", state, what)
		}
		select {
		case <-h.t.Context().Done():
			h.t.Fatalf("waited in vain until %s", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (h *host) untilHealthy() {
	h.t.Helper()
	h.until("it is healthy", func() bool {
		_, err := podman("healthcheck", "run", container)
		return err == nil
	})
}

// connect logs user in with a new client of the given name.
func (h *host) connect(user, name string) *loginclient.Client {
	h.t.Helper()
	c, err := loginclient.Connect(h.t.Context(), loginclient.Config{
		MCPURL: publicURL + "/mcp", Name: name, Transport: h.transport, Browser: loginclient.NewBrowser(h.transport, user, user+"-password"),
	})
	h.must(err)
	h.t.Cleanup(func() { c.Close() })
	return c
}

// again opens a session with what a client has kept.
func (h *host) again(c *loginclient.Client) *loginclient.Client {
	h.t.Helper()
	h.transport.CloseIdleConnections()
	next, err := c.Again(h.t.Context())
	h.must(err)
	return next
}

// call calls a tool and returns its text.
func (h *host) call(c caller, tool string, args any) string {
	h.t.Helper()
	text, err := callTool(h.t.Context(), c, tool, args)
	h.must(err)
	return text
}

// caller is a session of any client.
type caller interface {
	CallTool(context.Context, *mcp.CallToolParams) (*mcp.CallToolResult, error)
}

func callTool(ctx context.Context, c caller, tool string, args any) (string, error) {
	r, err := c.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		return "", fmt.Errorf("%s: %w", tool, err)
	}
	text := ""
	for _, content := range r.Content {
		if t, ok := content.(*mcp.TextContent); ok {
			text += t.Text
		}
	}
	if r.IsError {
		return "", fmt.Errorf("%s: %s", tool, text)
	}
	return text, nil
}

// mustBe calls a tool that says who the user is.
func (h *host) mustBe(c caller, user string) {
	h.t.Helper()
	if got := h.call(c, "get_my_user_info", map[string]any{}); !strings.Contains(got, `"login":"`+user+`"`) {
		h.t.Fatalf("got %s, want %s", got, user)
	}
}
