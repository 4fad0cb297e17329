package forgeproxy

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/localhost"
	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forge"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
)

// Config is what a Proxy needs.
type Config struct {
	Forge  *url.URL // public URL of the forge; http or https
	CAFile string   // further CA certificates for the forge; may be empty
	Egress string   // unix socket that leads to the forge; empty: dial the forge
	// Plaintext: the forge speaks no TLS there, whatever its URL says.
	Plaintext bool
	Token     string // the first token
	Policy    forgeapi.Policy

	// Unauthorized asks for a new token, since the forge refused the current one.
	// Its error means that none will come.
	Unauthorized func() error
	// Forbidden is told of each 403 of the forge's before the backend gets it, at most
	// until ctx ends.
	Forbidden func(ctx context.Context)
	// Refused tells of a request that is not sent to the forge, or of an answer that
	// is cut off, before the backend hears of it.
	Refused func(Refusal)
	// Touched, if set, is told of each repository that a request which goes to the forge
	// names, as owner/name. It must not wait.
	Touched func(repo string)
	Log     *slog.Logger
}

// Refusal is a request that was not sent to the forge, or an answer that was cut off.
type Refusal struct {
	ID     string // stands in the answer to the backend, if it gets one
	Reason control.Reason
	Rule   string // of the policy that denies it, "" for none
	Text   string // as in that answer
}

// Proxy is a backend's way out: a forward proxy for one origin that sets the
// user's token on every request it lets through. It is read-only until SetMode
// says otherwise. Its methods may be called from several goroutines.
type Proxy struct {
	origin  origin
	cert    tls.Certificate
	tokens  *tokens
	forward *httputil.ReverseProxy
	contact *record
	rules   rules
	probing atomic.Bool
	places  chan struct{} // one for each request in flight
	buffers buffers
	tunnels *tunnelListener // feeds terminated CONNECT tunnels to a server
	addr    string          // host:port of the proxy
	key     string          // the password that the backend has to show there
	servers []*http.Server
	log     *slog.Logger
}

// New starts a proxy on a free port of 127.0.0.1 and, for a forge that clients
// reach past any proxy (localhost.Literal), on the forge's own address.
func New(c Config) (*Proxy, error) {
	if err := CheckToken(c.Token); err != nil {
		return nil, err
	}
	cert, err := newCertificate(c.Forge.Hostname(), time.Now())
	if err != nil {
		return nil, err
	}
	transport, err := newTransport(c)
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		origin:  newOrigin(c.Forge),
		cert:    cert,
		tokens:  newTokens(c.Token),
		contact: new(record),
		rules:   rules{policy: c.Policy, refused: c.Refused, touched: c.Touched},
		places:  make(chan struct{}, maxRequests),
		tunnels: newTunnelListener(),
		key:     rand.Text(),
		log:     c.Log,
	}
	p.forward = &httputil.ReverseProxy{
		Rewrite:        p.rewrite,
		Transport:      &upstream{base: transport, tokens: p.tokens, contact: p.contact, report: c.Unauthorized, forbidden: c.Forbidden},
		ModifyResponse: p.guard,
		ErrorHandler:   p.failed,
		BufferPool:     &p.buffers,
		ErrorLog:       slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
	}
	if err := p.listen(); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// URL is what the backend's HTTP_PROXY and HTTPS_PROXY are to say. It holds a password
// that is for the backend alone.
func (p *Proxy) URL() string { return "http://" + proxyUser + ":" + p.key + "@" + p.addr }

// Ports are the TCP ports of loopback that a backend has to reach.
func (p *Proxy) Ports() []int {
	_, own, _ := net.SplitHostPort(p.addr)
	all := []string{own}
	if localhost.Literal(p.origin.url.Hostname()) {
		all = append(all, forge.Port(p.origin.url))
	}
	var numbers []int
	for _, s := range all {
		n, _ := strconv.Atoi(s)
		numbers = append(numbers, n)
	}
	return numbers
}

// SetToken makes token the one in use from the next request on; requests that
// wait for one continue with it. A faulty token changes nothing.
func (p *Proxy) SetToken(token string) error {
	if err := CheckToken(token); err != nil {
		return err
	}
	p.tokens.swap(token)
	return nil
}

// SetMode is in force for every request that comes after it returns. limits is what
// policy.ParseLimits takes, nil for no policy; where it cannot be read, nothing is allowed.
// It returns policy.Limits.Key of what is in force.
func (p *Proxy) SetMode(m control.Mode, limits json.RawMessage) (key string) {
	f, err := newForce(m, limits)
	if err != nil {
		p.log.Error("the policy's limits of this session cannot be read, so nothing is allowed", "error", err)
	}
	p.rules.force.Store(f)
	p.probing.Store(m == control.ModeProbe)
	return f.limits.Key()
}

// NoToken tells the requests that wait for another token that none will come. The
// forge's 401 goes to the backend, unless why, control.ReasonForgeUnreachable or
// control.ReasonInternal, says that the login may be good.
func (p *Proxy) NoToken(why control.Reason) { p.tokens.giveUp(why) }

// Contact tells how the forge has answered up to now.
func (p *Proxy) Contact() Contact { return p.contact.get() }

// CertificateFile returns a sealed memory file with the proxy's CA certificate in
// PEM, for the backend's SSL_CERT_FILE. The caller closes it.
func (p *Proxy) CertificateFile() (*os.File, error) { return certificateFile(p.cert) }

// Close ends all connections.
func (p *Proxy) Close() {
	for _, s := range p.servers {
		s.Close()
	}
}

func (p *Proxy) listen() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("cannot start the proxy: %w", err)
	}
	p.addr = l.Addr().String()
	p.serve(netutil.LimitListener(l, maxConnections), http.HandlerFunc(p.proxyRequest))
	p.serve(p.tunnels, http.HandlerFunc(p.originRequest))
	if localhost.Literal(p.origin.url.Hostname()) {
		return p.serveForgeAddress()
	}
	return nil
}

func (p *Proxy) serve(l net.Listener, h http.Handler) {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
	p.servers = append(p.servers, s)
	go s.Serve(l)
}

// serveForgeAddress poses as a forge on loopback, both families for "localhost".
func (p *Proxy) serveForgeAddress() error {
	hosts := []string{p.origin.url.Hostname()}
	if net.ParseIP(hosts[0]) == nil {
		hosts = []string{"127.0.0.1", "::1"}
	}
	var served int
	var failure error
	for _, host := range hosts {
		l, err := net.Listen("tcp", net.JoinHostPort(host, forge.Port(p.origin.url)))
		if err != nil {
			failure = err
			continue
		}
		l = netutil.LimitListener(l, maxConnections)
		if p.origin.scheme == "https" {
			l = tls.NewListener(l, p.tlsConfig())
		}
		p.serve(l, http.HandlerFunc(p.originRequest))
		served++
	}
	if served == 0 {
		return fmt.Errorf("cannot listen on the forge's address within the session's network: %w", failure)
	}
	return nil
}

func (p *Proxy) tlsConfig() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{p.cert}, NextProtos: []string{"http/1.1"}}
}

// proxyRequest answers what comes to the proxy's own address: CONNECT to an
// https forge, absolute-form requests (RFC 9112 §3.2.2) to an http forge.
func (p *Proxy) proxyRequest(w http.ResponseWriter, r *http.Request) {
	switch {
	case !p.known(r):
		p.refuseStranger(w, r)
	case r.Method == http.MethodConnect && p.origin.is("https", r.Host):
		p.tunnel(w)
	case r.Method != http.MethodConnect && r.URL.IsAbs() && p.origin.is(r.URL.Scheme, r.URL.Host) && p.origin.scheme == "http":
		p.pass(w, r)
	default:
		p.refuse(w, r)
	}
}

// originRequest answers where the proxy poses as the forge.
func (p *Proxy) originRequest(w http.ResponseWriter, r *http.Request) {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	if r.Method == http.MethodConnect || !p.origin.is(scheme, r.Host) {
		p.refuse(w, r)
		return
	}
	p.pass(w, r)
}

func (p *Proxy) pass(w http.ResponseWriter, r *http.Request) {
	path, ok := p.origin.within(r.URL.EscapedPath())
	if !ok {
		p.refuse(w, r)
		return
	}
	if p.probing.Load() {
		p.probe(w, r, path)
		return
	}
	select {
	case p.places <- struct{}{}:
		defer func() { <-p.places }()
	case <-r.Context().Done():
		return
	}
	control := http.NewResponseController(w)
	if r.Body != http.NoBody {
		r.Body = &timedBody{ReadCloser: r.Body, control: control, pause: pauseTimeout, end: time.Now().Add(bodyTimeout)}
	}
	// What is left of the body is read now: with full duplex, net/http would else come to its
	// end while it waits for the connection's next request, and panic.
	defer func() { r.Body.Close() }()
	if err := p.rules.admit(r, path); err != nil {
		p.failed(w, r, err)
		return
	}
	// Else net/http closes the body of a request whose answer begins before all of it
	// was sent on, and with it the connection that the answer comes from.
	_ = control.EnableFullDuplex()
	p.forward.ServeHTTP(w, r)
}

func (p *Proxy) refuse(w http.ResponseWriter, r *http.Request) {
	p.log.Warn("refused a request that does not go to the forge", "method", r.Method, "host", r.Host)
	http.Error(w, "fjmcp: only the configured forge, "+p.origin.String()+", may be reached from here", http.StatusForbidden)
}

func (p *Proxy) rewrite(r *httputil.ProxyRequest) {
	r.Out.URL.Scheme = p.origin.scheme
	r.Out.URL.Host = p.origin.url.Host
	r.Out.Host = p.origin.url.Host
	r.Out.URL.RawQuery = r.In.URL.RawQuery // ReverseProxy drops what it cannot parse
}

// failed answers for a request that was not sent, or that the forge gave no fit answer
// to. The backend's text reaches users; what exactly failed is for the operator.
func (p *Proxy) failed(w http.ResponseWriter, r *http.Request, err error) {
	var why *refusal
	switch {
	case errors.As(err, &why):
		p.log.Warn("refused a request of the backend's", "reason", why.reason, "rule", why.rule, "method", r.Method, "path", shown(r))
		p.rules.refuse(w, r, why)
		return
	case r.Context().Err() == nil:
		p.contact.failed(err)
		p.log.Warn("cannot reach the forge", "forge", p.origin.String(), "error", err)
	}
	http.Error(w, "fjmcp: cannot reach the forge "+p.origin.String(), http.StatusBadGateway)
}

// leaked is for an answer of which a part is with the backend already.
func (p *Proxy) leaked(r *http.Request) {
	p.log.Warn("cut off an answer of the forge's", "reason", control.ReasonTokenLeaked, "method", r.Method, "path", shown(r))
	p.rules.report(errLeaked)
}

// shown is a path for the log, of which the backend chose the length.
func shown(r *http.Request) string { return fmt.Sprintf("%.200s", r.URL.Path) }

// tunnel terminates the TLS of a CONNECT tunnel with our own certificate.
func (p *Proxy) tunnel(w http.ResponseWriter) {
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "fjmcp: cannot open a tunnel", http.StatusInternalServerError)
		return
	}
	// RFC 9110 §9.3.6: a client sends nothing before our answer.
	if buf.Reader.Buffered() > 0 {
		conn.Close()
		return
	}
	conn.SetDeadline(time.Time{})
	if _, err := conn.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		conn.Close()
		return
	}
	p.tunnels.add(tls.Server(conn, p.tlsConfig()))
}
