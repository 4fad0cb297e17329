package proxy

import (
	"bufio"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

// The faults of docs/deploy-caddy.md, made on purpose; what the page says is seen of
// them; and their cures.

func TestCureWrongIssuer(t *testing.T) {
	behind(t, func(t *testing.T, run func(*world, ...edit) *proxy) {
		w := start(t, "standin", "FJMCP_BROKER_PUBLIC_URL=http://127.0.0.1:8080")
		p := run(w)
		const metadata = "/.well-known/oauth-authorization-server"
		if _, _, body := w.get(w.http(p, "127.0.0.1"), metadata); !contains(body, `"issuer":"http://127.0.0.1:8080"`) {
			t.Errorf("the metadata says %s", body)
		}
		if c, err := w.connect(p, "alice", nil); err == nil {
			c.Close()
			t.Error("a client connected")
		}
		w.broker.Setenv("FJMCP_BROKER_PUBLIC_URL", public)
		if err := w.broker.Restart(t.Context(), w.program()); err != nil {
			t.Fatal(err)
		}
		if _, _, body := w.get(w.http(p, "127.0.0.1"), metadata); !contains(body, `"issuer":"`+public+`"`) {
			t.Errorf("the metadata says %s", body)
		}
		w.mustCall(w.mustConnect(p, "alice"), "get_my_user_info", nil, "alice")
	})
}

// buffered are the usual ways to hold back events.
var buffered = map[string]edit{
	"caddy": {"flush_interval -1\n", "flush_interval -1\n\t\tbuffer_responses\n"},
	"nginx": {"proxy_buffering off;", "proxy_ignore_headers X-Accel-Buffering;"},
}

func TestCureBufferedEvents(t *testing.T) {
	for _, kind := range proxies {
		t.Run(kind.name, func(t *testing.T) {
			w := start(t, "standin")
			p := kind.start(w, buffered[kind.name])
			token := w.token(p)
			held := w.endlessCall(w.http(p, "127.0.0.1"), w.url, token)
			direct := w.endlessCall(w.direct(), "http://broker", token)
			for range 20 { // of a call that began later
				direct.next()
			}
			if held.began() {
				t.Error("an event came in spite of the buffer")
			}
			held.close()
			direct.close()
			p.stop()
			p = kind.start(w)
			if text := w.endlessCall(w.http(p, "127.0.0.1"), w.url, token).next(); !contains(text, `"progress":1`) {
				t.Errorf("the first event is %s", text)
			}
		})
	}
}

func TestCureUnreachableUpstream(t *testing.T) {
	behind(t, func(t *testing.T, run func(*world, ...edit) *proxy) {
		w := start(t, "standin")
		p := run(w)
		client := w.http(p, "127.0.0.1")
		if err := os.Rename(socket, socket+".away"); err != nil { // the socket unit is stopped
			t.Fatal(err)
		}
		if status, _, body := w.get(client, "/livez"); status != http.StatusBadGateway {
			t.Errorf("without the socket: %d %s", status, body)
		}
		if p.log == caddyLog {
			w.until("the cause is logged", func() bool {
				return contains(p.output.String(), "dial unix /run/fjmcp/http.sock: connect: no such file or directory")
			})
		}
		if err := os.Rename(socket+".away", socket); err != nil {
			t.Fatal(err)
		}
		if status, _, body := w.get(client, "/livez"); status != http.StatusOK {
			t.Errorf("with the socket: %d %s", status, body)
		}
	})
}

// One slash too few is a path below the directory that Caddy runs in.
func TestCureSlashOfTheSocket(t *testing.T) {
	w := start(t, "standin")
	p := startCaddy(w, edit{"unix//run", "unix/run"})
	status, _, body := w.get(w.http(p, "127.0.0.1"), "/livez")
	if status != http.StatusBadGateway {
		t.Errorf("got %d %s", status, body)
	}
	w.until("the cause is logged", func() bool { return contains(p.output.String(), "dial unix run/fjmcp/http.sock:") })
	p.stop()
	p = startCaddy(w)
	if status, _, body := w.get(w.http(p, "127.0.0.1"), "/livez"); status != http.StatusOK {
		t.Errorf("with two slashes: %d %s", status, body)
	}
}

// Only one program can have the ports.
func TestCureTLSPortInUse(t *testing.T) {
	w := start(t, "standin")
	other := startNginx(w)
	text := shipped(t, "caddy/Caddyfile", ownTLS...)
	p := launchCaddy(w, text)
	if err := p.end(); err == nil || !contains(p.output.String(), "bind: address already in use") {
		t.Errorf("Caddy ended with %v\n%s", err, p.output)
	}
	other.stop()
	p = runCaddy(w, text)
	w.mustCall(w.mustConnect(p, "alice"), "get_my_user_info", nil, "alice")

	conf := w.nginxConf(shipped(t, "nginx/fjmcp.conf"))
	late := launch(w, exec.Command(nginxProgram(), "-c", conf, "-g", "daemon off;"), nginxLog)
	if err := late.end(); err == nil || !contains(late.output.String(), "443 failed (98: Address already in use)") {
		t.Errorf("nginx ended with %v\n%s", err, late.output)
	}
}

// A name may have one site alone.
func TestCureTLSNameTwice(t *testing.T) {
	if missing != nil {
		t.Skip(missing)
	}
	text := shipped(t, "caddy/Caddyfile")
	file := t.TempDir() + "/Caddyfile"
	if err := os.WriteFile(file, []byte(text+"\n"+name+" {\n\trespond hello\n}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(caddyProgram(), "validate", "--config", file).CombinedOutput()
	if err == nil || !contains(string(out), "ambiguous site definition: "+name) {
		t.Errorf("caddy validate says %v\n%s", err, out)
	}
}

// What nginx does without the lines of the shipped file.
func TestNginxDefaults(t *testing.T) {
	w := start(t, "standin")
	p := startNginx(w, edit{"client_max_body_size 64m;", ""}, edit{"proxy_set_header X-Forwarded-For $remote_addr;", ""})
	c := w.http(p, "127.0.0.1")
	status, _, body := w.send(c, http.MethodPost, public+"/mcp", strings.Repeat("x", 2<<20))
	if status != http.StatusRequestEntityTooLarge {
		t.Errorf("2 MB gave %d %s", status, body)
	}
	w.registerUntilRefused(w.http(p, "127.0.0.2"))
	if n := w.registerUntilRefused(w.http(p, "127.0.0.3")); n > 60 {
		t.Errorf("another address is refused after %d more", n)
	}
	if status, body := w.register(w.http(p, "127.0.0.2"), "X-Forwarded-For", "203.0.113.1"); status != http.StatusCreated {
		t.Errorf("one that claims to be another gets %d %s", status, body)
	}
}

// A client of revision 2026-07-28 that closes its connection cancels its call.
func TestClosedConnectionEndsTheCall(t *testing.T) {
	behind(t, func(t *testing.T, run func(*world, ...edit) *proxy) {
		w := start(t, "standin")
		p := run(w)
		call := w.endlessCall(w.http(p, "127.0.0.1"), w.url, w.token(p))
		call.next()
		call.close()
		w.until("the call is cancelled", func() bool { return contains(w.log.String(), "FJMCP_TOOL=slow FJMCP_OUTCOME=cancelled") })
	})
}

// A reload ends the event streams, and whoever comes is served. A stop waits for them
// no longer than the grace period.
func TestCaddyEndsWithOpenStreams(t *testing.T) {
	w := start(t, "standin")
	p := startCaddy(w, edit{"grace_period 3s", "grace_period 1s"})
	token := w.token(p)
	open := w.endlessCall(w.http(p, "127.0.0.1"), w.url, token)
	open.next()
	reload := exec.CommandContext(t.Context(), caddyProgram(), "reload", "--force", "--config", filepath.Join(w.dir, "Caddyfile"))
	reload.Env = append(os.Environ(), "HOME="+w.dir)
	if out, err := reload.CombinedOutput(); err != nil {
		t.Errorf("caddy reload: %v\n%s", err, out)
	}
	w.until("the stream has ended", open.ended)
	open = w.endlessCall(w.http(p, "127.0.0.1"), w.url, token)
	open.next()
	p.stop()
	if err := p.end(); err != nil {
		t.Errorf("caddy ended with %v", err)
	}
}

// stream is the answer to a call that gives an event every 100 ms, for hours.
type stream struct {
	t      *testing.T
	events chan string // their data
	close  context.CancelFunc
}

func (w *world) endlessCall(client *http.Client, url, token string) *stream {
	w.t.Helper()
	const call = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"slow","arguments":{"ms":10000000,"steps":100000},"_meta":{"progressToken":"p",` +
		`"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
	r := request(w.t, http.MethodPost, url+"/mcp", call,
		"Authorization", "Bearer "+token, "Content-Type", "application/json", "Accept", "application/json, text/event-stream",
		"MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "slow")
	ctx, cancel := context.WithCancel(w.t.Context())
	w.t.Cleanup(cancel)
	s := &stream{t: w.t, events: make(chan string, 1000), close: cancel}
	go func() {
		defer close(s.events)
		resp, err := client.Do(r.WithContext(ctx))
		if err != nil {
			return
		}
		defer resp.Body.Close()
		for in := bufio.NewScanner(resp.Body); in.Scan(); {
			if data, ok := strings.CutPrefix(in.Text(), "data: "); ok {
				s.events <- data
			}
		}
	}()
	return s
}

// next waits for an event.
func (s *stream) next() string {
	s.t.Helper()
	select {
	case data, ok := <-s.events:
		if !ok {
			s.t.Fatal("the stream has ended")
		}
		return data
	case <-time.After(time.Minute):
		s.t.Fatal("no event within a minute")
	}
	return ""
}

// began tells whether there has been an event.
func (s *stream) began() bool { return len(s.events) > 0 }

// ended tells whether the stream has ended, and throws away what came before.
func (s *stream) ended() bool {
	for {
		select {
		case _, ok := <-s.events:
			if !ok {
				return true
			}
		default:
			return false
		}
	}
}

// token logs in and opens no session, whose own stream a buffer would hold up.
func (w *world) token(p *proxy) string {
	w.t.Helper()
	transport := w.http(p, "127.0.0.1").Transport
	c, err := loginclient.Login(w.t.Context(), loginclient.Config{MCPURL: w.url + "/mcp", Transport: transport, Browser: loginclient.NewBrowser(transport, "alice", "alice-password")})
	if err != nil {
		w.t.Fatal(err)
	}
	token, err := c.AccessToken(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}
