package attack

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/e2e"
)

// raw sends bytes to the broker and returns what comes back.
func (w *world) raw(text string) string {
	conn, err := w.s.C.DialContext(w.t.Context(), "tcp", "127.0.0.1:8080")
	w.must(err)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	// What is refused early may be cut while it is being sent.
	_, _ = io.WriteString(conn, text)
	b, err := io.ReadAll(io.LimitReader(conn, 1<<20))
	if err != nil && len(b) == 0 && !errors.Is(err, os.ErrDeadlineExceeded) {
		return "cut: " + err.Error()
	}
	return string(b)
}

// malformed are requests that mean one thing to a proxy and another to a server.
var malformed = map[string]string{
	"two lengths":                "POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\nhello",
	"an unknown transfer coding": "POST /mcp HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
	"a coding twice":             "POST /mcp HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
	"a signed length":            "POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
	"a space before the colon":   "GET /healthz HTTP/1.1\r\nHost: x\r\nX-A : b\r\n\r\n",
	"a null in a header":         "GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n",
	"no host":                    "GET /healthz HTTP/1.1\r\n\r\n",
	"two hosts":                  "GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
	"a host with a slash":        "GET /healthz HTTP/1.1\r\nHost: x/../y\r\n\r\n",
	"an unknown version":         "GET /healthz HTTP/7.3\r\nHost: x\r\n\r\n",
	"no version":                 "GET /healthz\r\n\r\n",
	"a header without end":       "GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 1<<20) + "\r\n\r\n",
	"headers without end":        "GET /healthz HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: b\r\n", 20000) + "\r\n",
	"a URL without end":          "GET /" + strings.Repeat("a", 1<<20) + " HTTP/1.1\r\nHost: x\r\n\r\n",
	"a chunk that overflows":     "POST /oauth/register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n0\r\n\r\n",
	"a tunnel":                   "CONNECT 127.0.0.1:3000 HTTP/1.1\r\nHost: 127.0.0.1:3000\r\n\r\n",
	"another host's URL":         "GET http://127.0.0.1:3000/api/v1/version HTTP/1.1\r\nHost: 127.0.0.1:3000\r\n\r\n",
	"TRACE":                      "TRACE /healthz HTTP/1.1\r\nHost: x\r\nX-A: reflected\r\nConnection: close\r\n\r\n",
}

// nothing are addresses that there must be nothing at.
var nothing = []string{"/debug/pprof/", "/debug/vars", "/metrics", "/.git/config", "/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc%2fpasswd", "/oauth/../../etc/passwd", "/.well-known/../../etc/passwd", "/static/..%5c..%5cetc", "/status", "/sessions", "/clients", "/key/rotate", "/drain", "/oauth/register/..%2f..%2fstatus", "/server-status", "/env", "/admin"}

func networkHTTP() (all []attack) {
	for _, name := range sorted(malformed) {
		text := malformed[name]
		all = append(all, attack{who: "N", name: "send " + name, right: "refused or cut", out: func(w *world) result {
			got := w.raw(text)
			status, _, _ := strings.Cut(got, "\r\n")
			code := 0
			fmt.Sscanf(status, "HTTP/1.1 %d", &code)
			return verdict((code >= 400 || strings.HasPrefix(got, "cut")) && !strings.Contains(got, "reflected") && !strings.Contains(got, "version\":\"1"), "%s", status)
		}})
	}
	for _, path := range nothing {
		all = append(all, attack{who: "N", name: "ask for " + path, right: "nothing", out: func(w *world) result {
			got := w.raw("GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: close\r\n\r\n")
			status, _, _ := strings.Cut(got, "\r\n")
			return verdict(!strings.Contains(status, " 200") && !strings.Contains(got, "root:"), "%s", status)
		}})
	}
	return append(all,
		attack{who: "N", name: "have links made from a header", right: "the configured URL alone", out: func(w *world) result {
			for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource", "/mcp", authorization(w.client("honest", honestURI)), "/account"} {
				r := w.http("GET", path, "", "Host: evil.example", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: ftp", "Forwarded: host=evil.example;proto=ftp", "X-Original-Url: /evil.example", "X-Forwarded-Prefix: /evil.example")
				if text := r.body + fmt.Sprint(r.Header); strings.Contains(text, "evil.example") || strings.Contains(text, "ftp:") {
					return verdict(false, "%s", path)
				}
			}
			return result{true, "no other"}
		}},
		attack{who: "N", name: "read answers from a page elsewhere", right: "no leave for its origin", out: func(w *world) result {
			for _, path := range []string{"/mcp", "/account", "/oauth/authorize", "/oauth/callback", "/healthz", "/sse"} {
				for _, method := range []string{"OPTIONS", "GET"} {
					r := w.http(method, path, "", "Origin: https://evil.example", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization")
					if got := r.Header.Get("Access-Control-Allow-Origin"); got == "https://evil.example" || got == "*" && r.Header.Get("Access-Control-Allow-Credentials") != "" {
						return verdict(false, "%s %s: %s", method, path, got)
					}
				}
			}
			return result{true, "none"}
		}},
		attack{who: "N", name: "call from a page elsewhere (DNS rebinding)", right: "refused", out: func(w *world) result {
			for _, origin := range []string{"https://evil.example", "http://127.0.0.1.evil.example", "null", "file://", "http://localhost.evil.example", "http://127.0.0.1@evil.example", "HTTP://EVIL.EXAMPLE:8080"} {
				r := w.mcpPost(ping, "Authorization: Bearer "+w.bearer(w.alice), "Origin: "+origin, "Host: evil.example:8080")
				if r.StatusCode != 403 {
					return verdict(false, "%s: %d", origin, r.StatusCode)
				}
			}
			return result{true, "403 for all"}
		}},
		attack{who: "N", name: "send a body without end and without a token", right: "refused before it is taken", out: func(w *world) result {
			r, err := http.NewRequestWithContext(w.t.Context(), "POST", e2e.PublicURL+"/mcp", io.LimitReader(zeros{}, 1<<30))
			w.must(err)
			r.Header.Set("Content-Type", "application/json")
			before := w.memory()
			resp, err := w.s.HTTP().Do(r)
			status := 0
			if err == nil {
				resp.Body.Close()
				status = resp.StatusCode
			}
			grown := w.memory() - before
			return verdict(grown < 32<<20 && (status == 401 || err != nil), "%d %v, %d MB more", status, err, grown>>20)
		}},
		attack{who: "N", name: "learn of the inside by faults", right: "no path, no trace, no name", out: func(w *world) result {
			for _, r := range []reply{w.mcpPost("{", "Authorization: Bearer x"), w.http("POST", "/oauth/token", "%zz", "Content-Type: "+formType), w.register("{"), w.http("GET", "/oauth/callback?state=%ff", ""), w.http("PATCH", "/healthz", ""), w.http("GET", "/sse", "")} {
				for _, word := range []string{"goroutine", ".go:", "/var/lib", "sqlite", "SQL", "gorm", "panic", "forgejo.localhost:3000/login"} {
					if strings.Contains(r.body+fmt.Sprint(r.Header), word) {
						return verdict(false, "%s in %s", word, r.body)
					}
				}
			}
			return result{true, "none"}
		}},
	)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// memory is what the broker holds in memory, in bytes.
func (w *world) memory() int64 {
	out := w.run("awk '/^VmRSS:/ {print $2}' /proc/$(systemctl show --value -p MainPID fjmcp-broker.service)/status")
	kb, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64)
	w.must(err)
	return kb << 10
}

// inside are addresses that a client's document must not be fetched from.
var inside = []string{
	"https://127.0.0.1/c.json", "https://localhost/c.json", "https://[::1]/c.json", "https://[::ffff:127.0.0.1]/c.json", "https://0.0.0.0/c.json", "https://127.1/c.json", "https://2130706433/c.json", "https://0x7f000001/c.json", "https://169.254.169.254/latest/c.json", "https://[fd00:ec2::254]/c.json",
	"https://10.0.0.1/c.json", "https://192.168.1.1/c.json", "https://172.16.0.1/c.json", "https://100.64.0.1/c.json", "https://[fe80::1]/c.json", "https://[64:ff9b::7f00:1]/c.json", "https://[2002:7f00:1::]/c.json", "https://forgejo.localhost/c.json", "https://inside.example/c.json",
	"http://127.0.0.1/c.json", "https://127.0.0.1:8080/c.json", "https://127.0.0.1:3000/c.json", "https://user@127.0.0.1/c.json", "https://127.0.0.1/c.json#x", "file:///etc/passwd", "https://127.0.0.1/../c.json", "gopher://127.0.0.1/c",
}

// networkSSRF has the broker fetch what a client publishes at addresses of the inside,
// where somebody waits.
func networkSSRF() (all []attack) {
	for _, address := range inside {
		all = append(all, attack{who: "N", name: "have the broker fetch " + address, right: "nobody is asked", out: func(w *world) result {
			visitors, end := w.waitFor("127.0.0.1:443", "127.0.0.1:80", "10.0.0.1:443", "[::1]:443")
			defer end()
			r := w.http("GET", authorization(address, "redirect_uri", honestURI), "")
			return verdict(len(visitors) == 0 && r.StatusCode >= 400 && r.StatusCode < 500, "%d visitors, %d", len(visitors), r.StatusCode)
		}})
	}
	return append(all, attack{who: "N", name: "have the broker fetch keys from the inside", right: "nobody is asked", out: func(w *world) result {
		visitors, end := w.waitFor("127.0.0.1:443", "10.0.0.1:443")
		defer end()
		for _, address := range inside {
			r := w.register(`{"redirect_uris":["` + honestURI + `"],"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"` + address + `"}`)
			if id := r.field("client_id"); id != "" {
				w.tokenRequest("grant_type", "authorization_code", "code", "x", "client_id", id, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
					"client_assertion", "eyJhbGciOiJFUzI1NiIsImtpZCI6IngifQ.eyJpc3MiOiJ4In0.AAAA")
			}
		}
		return verdict(len(visitors) == 0, "%d", len(visitors))
	}})
}

// waitFor listens at addresses of the container and notes who comes.
func (w *world) waitFor(addresses ...string) (visitors chan string, end func()) {
	w.run("ip address replace 10.0.0.1/32 dev lo; grep -q inside.example /etc/hosts || echo '127.0.0.1 inside.example' >>/etc/hosts")
	visitors = make(chan string, 100)
	var all []net.Listener
	for _, address := range addresses {
		l, err := w.s.C.Listen(w.t.Context(), "tcp", address)
		w.must(err)
		all = append(all, l)
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				visitors <- address
				conn.Close()
			}
		}()
	}
	return visitors, func() {
		for _, l := range all {
			l.Close()
		}
	}
}

// networkFloods are what one can do by much.
func networkFloods() []attack {
	return []attack{
		{who: "N", name: "fill the journal by asking for the health", right: "it stays as it is", out: func(w *world) result {
			return w.silent(func() {
				w.raw(strings.Repeat("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 500) + "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			})
		}},
		{who: "N", name: "fill the journal with bad tokens", right: "a few lines", out: func(w *world) result {
			return w.silent(func() {
				for range 300 {
					w.mcpPost(ping, "Authorization: Bearer "+guess(), "X-Forwarded-For: 203.0.113.1")
				}
			})
		}},
		{who: "N", name: "fill the journal with odd requests", right: "a few lines", out: func(w *world) result {
			return w.silent(func() {
				for range 100 {
					for _, path := range []string{"/oauth/callback?state=" + guess(), "/nothing/%0aFJMCP_EVENT=login", "/oauth/authorize?client_id=" + guess()} {
						w.http("GET", path, "", "X-Forwarded-For: 203.0.113.2")
					}
				}
			})
		}},
		{who: "N", name: "guess tokens from one address", right: "it is told to wait", out: func(w *world) result {
			for i := range 2000 {
				if r := w.mcpPost(ping, "Authorization: Bearer "+guess(), "X-Forwarded-For: 203.0.113.3"); r.StatusCode == 429 {
					return verdict(r.Header.Get("Retry-After") != "", "429 after %d", i)
				}
			}
			return result{false, "never"}
		}},
		{who: "N", name: "guess codes from one address", right: "it is told to wait", out: func(w *world) result {
			client := w.client("honest", honestURI)
			for i := range 2000 {
				r := w.http("POST", "/oauth/token", "grant_type=authorization_code&code_verifier="+verifier+"&client_id="+client+"&code="+guess(), "Content-Type: "+formType, "X-Forwarded-For: 203.0.113.4")
				if r.StatusCode == 429 {
					return verdict(true, "429 after %d", i)
				}
			}
			return result{false, "never"}
		}},
		{who: "N", name: "hold thousands of half requests open", right: "others are served, memory is bounded", out: func(w *world) result {
			before := w.memory()
			var all []net.Conn
			defer func() {
				for _, c := range all {
					c.Close()
				}
			}()
			for range 4000 {
				conn, err := w.s.C.DialContext(w.t.Context(), "tcp", "127.0.0.1:8080")
				if err != nil {
					break
				}
				all = append(all, conn)
				if _, err := io.WriteString(conn, "POST /mcp HTTP/1.1\r\nHost: x\r\nX-A: "+strings.Repeat("a", 3000)); err != nil {
					break
				}
			}
			err := w.works()
			grown := w.memory() - before
			return verdict(err == nil && grown < 96<<20, "%d held, %d MB more, %v", len(all), grown>>20, err)
		}},
		{who: "N", name: "register as many networks of one provider", right: "it is told to wait", out: func(w *world) result {
			failed := w.registrations(1500, func(i int) string { return fmt.Sprintf("2001:db8:ffff:%x::1", i/20) })
			return verdict(failed > 500, "%d of 1500 refused", failed)
		}},
		{who: "N", name: "register thousands of clients from many networks", right: "an honest client registers as before", out: func(w *world) result {
			failed := w.registrations(5200, func(i int) string { return fmt.Sprintf("2001:db8:%x:%x::1", i/60, i) })
			r := w.register(`{"client_name":"honest","redirect_uris":["` + honestURI + `"]}`)
			return verdict(r.StatusCode == 201, "%d after %d refused", r.StatusCode, failed)
		}},
	}
}

// registrations registers so many clients, each from the address of its number, and
// counts those that are refused.
func (w *world) registrations(n int, address func(int) string) (failed int) {
	bad := make(chan int)
	const workers = 8
	for worker := range workers {
		go func() {
			count := 0
			for i := worker; i < n; i += workers {
				body := fmt.Sprintf(`{"client_name":"flood %d","redirect_uris":["https://flood.example/%d"]}`, i, i)
				r, err := http.NewRequestWithContext(w.t.Context(), "POST", e2e.PublicURL+"/oauth/register", bytes.NewReader([]byte(body)))
				if err != nil {
					break
				}
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("X-Forwarded-For", address(i))
				resp, err := w.s.HTTP().Do(r)
				if err != nil {
					count++
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != 201 {
					count++
				}
			}
			bad <- count
		}()
	}
	for range workers {
		failed += <-bad
	}
	return failed
}

// silent wants a flood to leave few lines of the broker's in the journal.
func (w *world) silent(flood func()) result {
	count := func() int {
		n, err := strconv.Atoi(strings.TrimSpace(w.run("journalctl --sync; journalctl -q -o cat _SYSTEMD_UNIT=fjmcp-broker.service | wc -l")))
		w.must(err)
		return n
	}
	before := count()
	flood()
	lines := count() - before
	return verdict(lines < 30, "%d lines", lines)
}
