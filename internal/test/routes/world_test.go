package routes

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/fjmcp/fjmcp-broker/internal/authserver"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/site"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/localhost"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/tokens"
	"github.com/fjmcp/fjmcp-broker/internal/gateway"
	launchclient "github.com/fjmcp/fjmcp-broker/internal/launcher/client"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

// world is a whole broker in this process, whose requests are traced.
type world struct {
	*traces
	t         *testing.T
	url       string
	transport *http.Transport
}

func start(t *testing.T) *world {
	t.Helper()
	bin := t.TempDir()
	for name, program := range map[string]string{"fjmcp-session": "../../../cmd/fjmcp-session", "backend": "../fakemcp"} {
		if out, err := exec.Command("go", "build", "-o", filepath.Join(bin, name), program).CombinedOutput(); err != nil {
			t.Fatalf("cannot build %s: %v\n%s", name, err, out)
		}
	}
	w := &world{traces: &traces{routes: map[string]map[string][]string{}, handlers: map[string]string{}}, t: t, transport: &http.Transport{DialContext: new(localhost.Dialer).DialContext}}
	mux := http.NewServeMux()
	server := httptest.NewServer(w.follow(mux))
	t.Cleanup(server.Close)
	t.Cleanup(w.transport.CloseIdleConnections)
	w.url = server.URL
	public, err := url.Parse(server.URL)
	w.must(err)
	forge := fakeforge.Start(t, fakeforge.Config{}, authserver.CallbackURL(public))
	client, err := forgejo.New(forgejo.Config{URL: forge.URL, ClientID: forge.App.ClientID, ClientSecret: forge.App.ClientSecret, RedirectURL: authserver.CallbackURL(public)})
	w.must(err)
	log, events := slog.New(slog.DiscardHandler), audit.New(w.traces)
	st := teststore.Open(t, teststore.Path(t), w.now)
	tokens, err := tokens.New(tokens.Config{Store: st, Forgejo: client, Log: log, Audit: events, Now: w.now})
	w.must(err)
	launcher, err := launchclient.NewProcess(launchclient.ProcessConfig{
		SessionBinary: filepath.Join(bin, "fjmcp-session"), ForgejoMCP: filepath.Join(bin, "backend"), Now: w.now, Log: log,
		ForgejoURL: w.watched(forge.URL),
	})
	w.must(err)
	sessions := session.New(session.Config{
		Config: unit.Config{
			Launcher: launcher, Tokens: tokens, Log: log, Now: w.now,
			IdleTimeout: time.Hour, StartTimeout: time.Minute, ProbeTimeout: 30 * time.Second,
		},
		Store: st, Audit: events, MaxAge: 24 * time.Hour, PerUser: 5, Max: 10,
	})
	w.must(sessions.Reconcile(t.Context()))
	t.Cleanup(func() {
		sessions.Shutdown(context.Background())
		launcher.Close()
	})
	auth := authserver.New(authserver.Config{
		Site: site.Site{
			Store: st, Forgejo: client, Tokens: tokens, Audit: events, Log: log, Now: w.now, Revoked: func(context.Context, string) {},
		}, PublicURL: public,
		AccessTTL: time.Hour, RefreshTTL: 24 * time.Hour, Redeemed: sessions.Prestart, Addresses: &ratelimit.Addresses{},
	})
	auth.Routes(mux)
	keys, err := seal.NewKeyring(make([]byte, seal.KeySize))
	w.must(err)
	gateway.New(gateway.Config{PublicURL: public, Auth: auth, Sessions: sessions, Keys: keys, Audit: events, Log: log, RequestTimeout: time.Minute}).Routes(mux)
	return w
}

// watched is the URL of a forge that stands before another, for backends: while it is
// asked, a request of a client waits.
func (w *world) watched(forge string) string {
	behind, err := url.Parse(forge)
	w.must(err)
	proxy := httputil.NewSingleHostReverseProxy(behind)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.noteWaiting()
		proxy.ServeHTTP(rw, r)
	}))
	w.t.Cleanup(server.Close)
	return strings.Replace(server.URL, "127.0.0.1", "forge.localhost", 1)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

type connect func(context.Context, loginclient.Config) (*loginclient.Client, error)

// call connects a new client to path and calls a tool.
func (w *world) call(to connect, path string) *loginclient.Client {
	w.t.Helper()
	c, err := to(w.t.Context(), loginclient.Config{
		MCPURL: w.url + path, Transport: w.transport, Browser: loginclient.NewBrowser(w.transport, "alice", "alice-password"),
	})
	w.must(err)
	_, err = c.CallTool(w.t.Context(), &mcp.CallToolParams{Name: "get_my_user_info"})
	w.must(err)
	return c
}

// callStateless calls a tool as a client of 2026-07-28 does.
func (w *world) callStateless(c *loginclient.Client, stage string) {
	w.t.Helper()
	token, err := c.AccessToken(w.t.Context())
	w.must(err)
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.url+"/mcp", strings.NewReader(
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_my_user_info","_meta":{
		"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`))
	w.must(err)
	for name, value := range map[string]string{
		"Authorization": "Bearer " + token, "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "get_my_user_info",
		headerStage: stage,
	} {
		r.Header.Set(name, value)
	}
	resp, err := w.transport.RoundTrip(r)
	w.must(err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		w.t.Fatalf("a stateless call: %s", resp.Status)
	}
}
