package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/localhost"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/localbroker"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
	"github.com/fjmcp/fjmcp-broker/internal/test/testlog"
)

const (
	name   = "mcp.example.org" // of the shipped files
	public = "https://" + name
	socket = "/run/fjmcp/http.sock"
)

// world is a forge and a broker on the unix socket.
type world struct {
	t      *testing.T
	dir    string
	url    string // the public one
	forge  *fakeforge.Server
	broker *localbroker.Broker
	log    *testlog.Buffer
	listen *net.UnixListener
	heard  *eavesdropper // what went between the clients and the proxy
}

// start runs a broker with a backend of bin and further settings.
func start(t *testing.T, backend string, env ...string) *world {
	t.Helper()
	return startAt(t, public, backend, env...)
}

// startAt is start with another public URL.
func startAt(t *testing.T, publicURL, backend string, env ...string) *world {
	t.Helper()
	if missing != nil {
		t.Skip(missing)
	}
	w := &world{t: t, dir: t.TempDir(), url: publicURL, log: &testlog.Buffer{}, heard: newEavesdropper()}
	for _, dir := range []string{"/run/fjmcp", "/var/log/caddy", "/var/log/nginx"} {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.openSocket()
	var err error
	if w.forge, err = localbroker.StartForge("3000"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.forge.Stop)
	w.broker, err = localbroker.Start(t.Context(), localbroker.Config{
		Program: w.program(), Backend: filepath.Join(bin, backend), Port: "0", Dir: t.TempDir(), Env: env, Forge: w.forge, Log: w.log,
		PublicURL: publicURL, Socket: w.listen,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, w.log)
	}
	t.Cleanup(func() {
		w.broker.Stop(syscall.SIGTERM)
		w.listen.Close()
		if t.Failed() {
			t.Logf("the broker's log:\n%s", w.log)
		}
	})
	return w
}

func (w *world) program() string { return filepath.Join(bin, "fjmcp-broker") }

// openSocket is what fjmcp-broker.socket does.
func (w *world) openSocket() {
	w.t.Helper()
	var err error
	if w.listen, err = net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"}); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		w.t.Fatal(err)
	}
}

// proxy is a running reverse proxy.
type proxy struct {
	t      *testing.T
	tls    *tls.Config
	log    string          // its access log
	output *testlog.Buffer // standard output and error
	stop   func()          // ends it and waits
	ended  chan error      // gets the exit
}

// end waits until the proxy ends by itself.
func (p *proxy) end() error {
	err := <-p.ended
	p.ended <- err
	return err
}

// proxies are what every test of the shipped files runs with. edit changes the file
// before it is used.
var proxies = []struct {
	name  string
	start func(w *world, edit ...edit) *proxy
}{{"caddy", startCaddy}, {"nginx", startNginx}}

// edit replaces the one occurrence of old in a shipped file.
type edit struct{ old, new string }

func (e edit) apply(t *testing.T, text string) string {
	t.Helper()
	if n := strings.Count(text, e.old); n != 1 {
		t.Fatalf("%q is there %d times in\n%s", e.old, n, text)
	}
	return strings.Replace(text, e.old, e.new, 1)
}

// shipped reads a file of packaging and applies the edits.
func shipped(t *testing.T, file string, edits ...edit) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../../packaging", file))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, e := range edits {
		text = e.apply(t, text)
	}
	return text
}

// ready waits until the proxy takes TLS connections.
func (p *proxy) ready(host string) error {
	giveUp := time.Now().Add(time.Minute)
	for {
		conn, err := tls.Dial("tcp", "127.0.0.1:443", &tls.Config{ServerName: host, InsecureSkipVerify: true})
		if err == nil {
			return conn.Close()
		}
		select {
		case err := <-p.ended:
			p.ended <- err
			return fmt.Errorf("it ended: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(giveUp) {
			return err
		}
	}
}

// http is a client of this proxy with a source address of its own. Names below
// example.org lead to the proxy.
func (w *world) http(p *proxy, from string) *http.Client {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	transport := &http.Transport{TLSClientConfig: p.tls, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if host, port, _ := net.SplitHostPort(address); strings.HasSuffix(host, ".example.org") {
			return d.DialContext(ctx, network, "127.0.0.1:"+port)
		}
		return new(localhost.Dialer).DialContext(ctx, network, address)
	}}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: w.heard.over(transport)}
}

// connect logs a user in through the proxy.
func (w *world) connect(p *proxy, user string, options *mcp.ClientOptions) (*loginclient.Client, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	transport := w.http(p, "127.0.0.1").Transport
	return loginclient.Connect(ctx, loginclient.Config{
		MCPURL: w.url + "/mcp", Transport: transport, Browser: loginclient.NewBrowser(transport, user, user+"-password"), Options: options,
	})
}

func (w *world) mustConnect(p *proxy, user string) *loginclient.Client {
	w.t.Helper()
	c, err := w.connect(p, user, nil)
	if err != nil {
		w.t.Fatalf("%v\n%s", err, p.output)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// mustCall calls a tool, whose text must hold want.
func (w *world) mustCall(c *loginclient.Client, tool string, args map[string]any, want string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	r, err := c.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		w.t.Fatal(err)
	}
	var text strings.Builder
	for _, content := range r.Content {
		if t, ok := content.(*mcp.TextContent); ok {
			text.WriteString(t.Text)
		}
	}
	if r.IsError || !strings.Contains(text.String(), want) {
		w.t.Fatalf("%s gave %s; want %q in it", tool, text.String(), want)
	}
}

// get asks for a path below the public URL.
func (w *world) get(client *http.Client, path string, header ...string) (status int, h http.Header, body string) {
	w.t.Helper()
	return w.send(client, http.MethodGet, w.url+path, "", header...)
}

func (w *world) send(client *http.Client, method, url, body string, header ...string) (status int, h http.Header, answer string) {
	w.t.Helper()
	resp, err := client.Do(request(w.t, method, url, body, header...))
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func request(t *testing.T, method, url, body string, header ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if r.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	return r
}

// until waits for a condition.
func (w *world) until(what string, done func() bool) {
	w.t.Helper()
	giveUp := time.Now().Add(time.Minute)
	for !done() {
		if time.Now().After(giveUp) {
			w.t.Fatal("waited for a minute: " + what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// direct is a client on the broker's socket, without a proxy.
func (w *world) direct() *http.Client {
	var d net.Dialer
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", socket) }}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// host is the name in the public URL.
func (w *world) host() string {
	u, err := url.Parse(w.url)
	if err != nil {
		w.t.Fatal(err)
	}
	return u.Hostname()
}
