package forgeproxy

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
)

const secret = "the-token-of-the-user"

// site is a server that notes what it is asked, with the token if it came.
type site struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, fmt.Sprint(r.Method, " ", r.Host, " ", r.RequestURI, " ", string(body), " ", r.Header["Authorization"]))
	if to := r.URL.Query().Get("to"); to != "" {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
}

func (s *site) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// certificate makes one for host that is its own CA.
func certificate(t *testing.T, host string, from, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: from, NotAfter: until, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// secureSite serves https with cert and returns its port.
func secureSite(t *testing.T, cert tls.Certificate) (*site, string) {
	t.Helper()
	s := new(site)
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.StartTLS()
	t.Cleanup(s.Close)
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	return s, port
}

// secureProxy is a proxy for https://forge.localhost:port, whose CA is trusted's.
func secureProxy(t *testing.T, port string, trusted tls.Certificate) *Proxy {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: trusted.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{
		Forge: &url.URL{Scheme: "https", Host: "forge.localhost:" + port}, CAFile: ca, Token: secret, Log: slog.New(slog.DiscardHandler),
		Unauthorized: func() error { return nil }, Forbidden: func(context.Context) {}, Refused: func(Refusal) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	p.SetMode(control.ModeReadWrite, nil)
	return p
}

// goodForge is a forge with a certificate of its own name and a proxy that trusts it.
func goodForge(t *testing.T) (*site, *Proxy) {
	t.Helper()
	cert := certificate(t, "forge.localhost", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	forge, port := secureSite(t, cert)
	return forge, secureProxy(t, port, cert)
}

// connect opens a tunnel as the backend would.
func (p *Proxy) connect(t *testing.T, to string) (net.Conn, *http.Response) {
	t.Helper()
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nProxy-Authorization: %s\r\n\r\n", to, to, p.authorization())
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Fatal(err)
	}
	return c, resp
}

// tunnelled opens a tunnel to the forge, with TLS for the name sni.
func (p *Proxy) tunnelled(t *testing.T, sni string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, resp := p.connect(t, p.origin.url.Host)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("CONNECT: %s", resp.Status)
	}
	secured := tls.Client(c, &tls.Config{ServerName: sni, InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
	if err := secured.Handshake(); err != nil {
		t.Fatal(err)
	}
	return secured, bufio.NewReader(secured)
}

// The forge has to show a certificate that is its own, valid and trusted. Else it gets
// nothing, and no other name of the certificate helps.
func TestForgeHasToProveItself(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		host           string
		from, until    time.Time
		trusted, works bool
	}{
		"good":         {"forge.localhost", now.Add(-time.Hour), now.Add(time.Hour), true, true},
		"untrusted":    {"forge.localhost", now.Add(-time.Hour), now.Add(time.Hour), false, false},
		"expired":      {"forge.localhost", now.Add(-2 * time.Hour), now.Add(-time.Hour), true, false},
		"not yet":      {"forge.localhost", now.Add(time.Hour), now.Add(2 * time.Hour), true, false},
		"another name": {"evil.localhost", now.Add(-time.Hour), now.Add(time.Hour), true, false},
	} {
		t.Run(name, func(t *testing.T) {
			cert := certificate(t, c.host, c.from, c.until)
			forge, port := secureSite(t, cert)
			trusted := cert
			if !c.trusted {
				trusted = certificate(t, c.host, c.from, c.until)
			}
			p := secureProxy(t, port, trusted)
			conn, in := p.tunnelled(t, "forge.localhost")
			fmt.Fprintf(conn, "GET /api/v1/version HTTP/1.1\r\nHost: %s\r\n\r\n", p.origin.url.Host)
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			if works := resp.StatusCode == http.StatusOK; works != c.works || len(forge.requests()) > 0 != c.works {
				t.Errorf("got %s, the forge was asked %q", resp.Status, forge.requests())
			}
			if resp.StatusCode != http.StatusOK && (resp.StatusCode != http.StatusBadGateway || p.Contact().Err == nil) {
				t.Errorf("got %s, contact %+v", resp.Status, p.Contact())
			}
		})
	}
}

// Whatever is said in a tunnel goes to the forge, or nowhere.
func TestTunnelLeadsNowhereElse(t *testing.T) {
	other, otherPort := secureSite(t, certificate(t, "forge.localhost", time.Now().Add(-time.Hour), time.Now().Add(time.Hour)))
	away := "forge.localhost:" + otherPort
	const first = "GET /api/v1/version HTTP/1.1\r\nHost: %[1]s\r\n\r\n"
	for name, c := range map[string]struct {
		sni, send string
		statuses  []int // 0 for a connection that ends
	}{
		"another name in TLS":         {"evil.localhost", first, []int{200}},
		"another host":                {"forge.localhost", "GET /api/v1/version HTTP/1.1\r\nHost: %[2]s\r\n\r\n" + first, []int{403, 200}},
		"two hosts":                   {"forge.localhost", "GET /api/v1/version HTTP/1.1\r\nHost: %[1]s\r\nHost: %[2]s\r\n\r\n", []int{400}},
		"no host":                     {"forge.localhost", "GET /api/v1/version HTTP/1.1\r\n\r\n", []int{400}},
		"no host, by HTTP/1.0":        {"forge.localhost", "GET /api/v1/version HTTP/1.0\r\n\r\n", []int{403}},
		"absolute form for the forge": {"forge.localhost", "GET https://%[1]s/api/v1/version HTTP/1.1\r\nHost: %[1]s\r\n\r\n", []int{200}},
		"absolute form for another":   {"forge.localhost", first + "GET https://%[2]s/api/v1/version HTTP/1.1\r\nHost: %[1]s\r\n\r\n", []int{200, 403}},
		"absolute form by http":       {"forge.localhost", "GET http://%[2]s/api/v1/version HTTP/1.1\r\nHost: %[1]s\r\n\r\n", []int{403}},
		"a user before the host":      {"forge.localhost", "GET https://%[1]s@%[2]s/api/v1/version HTTP/1.1\r\nHost: %[1]s\r\n\r\n", []int{403}},
		"a tunnel in the tunnel":      {"forge.localhost", "CONNECT %[2]s HTTP/1.1\r\nHost: %[2]s\r\n\r\n", []int{403}},
		"a tunnel to the forge in it": {"forge.localhost", "CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", []int{403}},
		"redirected elsewhere":        {"forge.localhost", "GET /api/v1/version?to=https://%[2]s/ HTTP/1.1\r\nHost: %[1]s\r\n\r\n", []int{307}},
		"upgraded":                    {"forge.localhost", "GET /api/v1/version HTTP/1.1\r\nHost: %[1]s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", []int{200}},
		"HTTP/2 by itself":            {"forge.localhost", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{0}},
		"giant header":                {"forge.localhost", "GET /api/v1/version HTTP/1.1\r\nHost: %[1]s\r\nX: " + strings.Repeat("x", 2<<20) + "\r\n\r\n", []int{431}},
	} {
		t.Run(name, func(t *testing.T) {
			forge, p := goodForge(t)
			conn, in := p.tunnelled(t, c.sni)
			go io.WriteString(conn, strings.NewReplacer("%[1]s", p.origin.url.Host, "%[2]s", away).Replace(c.send))
			passed := 0
			for _, want := range c.statuses {
				resp, err := http.ReadResponse(in, nil)
				if want == 0 {
					if err == nil && resp.StatusCode < 400 {
						t.Errorf("got %s", resp.Status)
					}
					break
				}
				if err != nil || resp.StatusCode != want {
					t.Fatalf("got %v, %v; want %d", resp, err, want)
				}
				if want < 400 {
					passed++
				}
				_, _ = io.Copy(io.Discard, resp.Body)
			}
			asked := forge.requests()
			if len(asked) != passed {
				t.Errorf("the forge was asked %q", asked)
			}
			for _, a := range asked {
				if !strings.Contains(a, " "+p.origin.url.Host+" ") || !strings.HasSuffix(a, "[token "+secret+"]") {
					t.Errorf("the forge was asked %q", a)
				}
			}
		})
	}
	if asked := other.requests(); len(asked) > 0 {
		t.Errorf("another host was asked %q", asked)
	}
}

// A request that two readers would end at different places is refused, or is one request
// for the forge as well.
func TestSmuggledRequests(t *testing.T) {
	const hidden = "DELETE /api/v1/repos/a/b HTTP/1.1\r\nHost: forge.localhost\r\n\r\n"
	for name, head := range map[string]string{
		"both lengths":           "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"both, the other first":  "Transfer-Encoding: chunked\r\nContent-Length: 200\r\n\r\n0\r\n\r\n",
		"two lengths":            "Content-Length: 0\r\nContent-Length: 64\r\n\r\n",
		"list of lengths":        "Content-Length: 0, 64\r\n\r\n",
		"signed length":          "Content-Length: +0\r\n\r\n",
		"unknown coding":         "Transfer-Encoding: identity\r\nContent-Length: 64\r\n\r\n",
		"coding twice":           "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"coding with a tab":      "Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n",
		"coding before a space":  "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"folded header":          "X: y\r\n Content-Length: 64\r\n\r\n",
		"bare line feed":         "X: y\nContent-Length: 0\n\n",
		"bare carriage return":   "X: y\rContent-Length: 64\r\n\r\n",
		"chunk with a sign":      "Transfer-Encoding: chunked\r\n\r\n-0\r\n\r\n",
		"chunk with a bare line": "Transfer-Encoding: chunked\r\n\r\n0\n\n",
		"trailer with a length":  "Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n0\r\nContent-Length: 64\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			forge, p := goodForge(t)
			p.SetMode(control.ModeReadOnly, nil)
			conn, in := p.tunnelled(t, "forge.localhost")
			go fmt.Fprintf(conn, "GET /api/v1/version HTTP/1.1\r\nHost: %s\r\n%s%s", p.origin.url.Host, head, strings.ReplaceAll(hidden, "forge.localhost", p.origin.url.Host))
			for {
				resp, err := http.ReadResponse(in, nil)
				if err != nil || resp.Close || resp.StatusCode >= 400 {
					break
				}
				_, _ = io.Copy(io.Discard, resp.Body)
			}
			for _, a := range forge.requests() {
				if !strings.HasPrefix(a, "GET "+p.origin.url.Host+" /api/v1/version ") {
					t.Errorf("the forge was asked %q", a)
				}
			}
		})
	}
}

// An https forge is reached by a tunnel alone: what is said in clear never leaves.
func TestNothingInClearForASecureForge(t *testing.T) {
	forge, p := goodForge(t)
	for _, to := range []string{"other.localhost:443", "127.0.0.1:" + p.origin.url.Port(), "forge.localhost:1", "forge.localhost.:" + p.origin.url.Port(), "forge.localhost"} {
		if _, resp := p.connect(t, to); resp.StatusCode != http.StatusForbidden {
			t.Errorf("CONNECT %s: %s", to, resp.Status)
		}
	}
	at, _ := url.Parse(p.URL())
	c := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(at), DisableKeepAlives: true}}
	resp, err := c.Get("http://" + p.origin.url.Host + "/api/v1/version")
	if err != nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("by http: %v, %v", resp, err)
	}
	conn, resp := p.connect(t, p.origin.url.Host)
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	fmt.Fprintf(conn, "GET /api/v1/version HTTP/1.1\r\nHost: %s\r\n\r\n", p.origin.url.Host) // no TLS in the tunnel
	if b, _ := io.ReadAll(conn); strings.Contains(string(b), "200 OK") {
		t.Errorf("in clear within the tunnel: %q", b)
	}
	if asked := forge.requests(); len(asked) > 0 {
		t.Errorf("the forge was asked %q", asked)
	}
}

// Where sessions share a network, others can reach the proxy's port. It sets the token for
// its own backend alone.
func TestOnlyTheBackendUsesTheProxy(t *testing.T) {
	forge, p := goodForge(t)
	_, other := goodForge(t)
	for _, password := range []string{"", "Basic", "Basic Zmo6", "Bearer " + secret, other.authorization(), p.authorization()[:20]} {
		for _, line := range []string{"CONNECT " + p.origin.url.Host, "GET http://" + p.origin.url.Host + "/api/v1/version"} {
			c, err := net.Dial("tcp", p.addr)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: %s\r\nProxy-Authorization: %s\r\n\r\n", line, p.origin.url.Host, password)
			resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: strings.Fields(line)[0]})
			if err != nil || resp.StatusCode != http.StatusProxyAuthRequired {
				t.Errorf("%s with %q: %v, %v", line, password, resp, err)
			}
			c.Close()
		}
	}
	if asked := forge.requests(); len(asked) > 0 {
		t.Errorf("the forge was asked %q", asked)
	}
}
