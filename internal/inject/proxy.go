package inject

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"time"
)

// proxy is the backend's way out: a forward proxy for one origin that sets the
// user's token on every request it lets through.
type proxy struct {
	origin  origin
	cert    tls.Certificate
	forward *httputil.ReverseProxy
	contact *contact
	tunnels *tunnelListener // feeds terminated CONNECT tunnels to a server
	addr    string          // host:port of the proxy
	servers []*http.Server
	log     *slog.Logger
}

// startProxy listens on 127.0.0.1 and, for a forge that clients reach past any
// proxy, on the forge's own loopback address.
func startProxy(c Config, up *upstream, cert tls.Certificate, log *slog.Logger) (*proxy, error) {
	p := &proxy{
		origin:  newOrigin(c.Forge),
		cert:    cert,
		contact: up.contact,
		tunnels: newTunnelListener(),
		log:     log,
	}
	p.forward = &httputil.ReverseProxy{
		Rewrite:      p.rewrite,
		Transport:    up,
		ErrorHandler: p.unreachable,
		ErrorLog:     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("cannot start the proxy: %w", err)
	}
	p.addr = l.Addr().String()
	p.serve(l, http.HandlerFunc(p.proxyRequest))
	p.serve(p.tunnels, http.HandlerFunc(p.originRequest))
	if isLoopback(c.Forge.Hostname()) {
		if err := p.serveForgeAddress(); err != nil {
			p.close()
			return nil, err
		}
	}
	return p, nil
}

func (p *proxy) serve(l net.Listener, h http.Handler) {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
	p.servers = append(p.servers, s)
	go s.Serve(l)
}

// serveForgeAddress poses as a forge on loopback, both families for "localhost".
func (p *proxy) serveForgeAddress() error {
	hosts := []string{p.origin.url.Hostname()}
	if net.ParseIP(hosts[0]) == nil {
		hosts = []string{"127.0.0.1", "::1"}
	}
	var served int
	var failure error
	for _, host := range hosts {
		l, err := net.Listen("tcp", net.JoinHostPort(host, port(p.origin.url)))
		if err != nil {
			failure = err
			continue
		}
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

func (p *proxy) close() {
	for _, s := range p.servers {
		s.Close()
	}
}

func (p *proxy) tlsConfig() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{p.cert}, NextProtos: []string{"http/1.1"}}
}

// proxyRequest answers what comes to the proxy's own address: CONNECT to an
// https forge, absolute-form requests (RFC 9112 §3.2.2) to an http forge.
func (p *proxy) proxyRequest(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect && p.origin.is("https", r.Host):
		p.tunnel(w)
	case r.Method != http.MethodConnect && r.URL.IsAbs() && p.origin.is(r.URL.Scheme, r.URL.Host) && p.origin.scheme == "http":
		p.pass(w, r)
	default:
		p.refuse(w, r)
	}
}

// originRequest answers where the proxy poses as the forge.
func (p *proxy) originRequest(w http.ResponseWriter, r *http.Request) {
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

func (p *proxy) pass(w http.ResponseWriter, r *http.Request) {
	if !p.origin.holds(r.URL.Path) {
		p.refuse(w, r)
		return
	}
	p.forward.ServeHTTP(w, r)
}

func (p *proxy) refuse(w http.ResponseWriter, r *http.Request) {
	p.log.Warn("refused a request that does not go to the forge", "method", r.Method, "host", r.Host)
	http.Error(w, "fjmcp: only the configured forge, "+p.origin.String()+", may be reached from here", http.StatusForbidden)
}

func (p *proxy) rewrite(r *httputil.ProxyRequest) {
	r.Out.URL.Scheme = p.origin.scheme
	r.Out.URL.Host = p.origin.url.Host
	r.Out.Host = p.origin.url.Host
	r.Out.URL.RawQuery = r.In.URL.RawQuery // ReverseProxy drops what it cannot parse
}

// unreachable answers for a forge that gave no answer. The backend's text
// reaches users; what exactly failed is for the operator.
func (p *proxy) unreachable(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() == nil {
		p.contact.failed(err)
		p.log.Warn("cannot reach the forge", "forge", p.origin.String(), "error", err)
	}
	http.Error(w, "fjmcp: cannot reach the forge "+p.origin.String(), http.StatusBadGateway)
}

// tunnel terminates the TLS of a CONNECT tunnel with our own certificate.
func (p *proxy) tunnel(w http.ResponseWriter) {
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

// tunnelListener is a net.Listener whose connections are handed to it.
type tunnelListener struct {
	conns  chan net.Conn
	ctx    context.Context
	cancel context.CancelFunc
}

func newTunnelListener() *tunnelListener {
	ctx, cancel := context.WithCancel(context.Background())
	return &tunnelListener{conns: make(chan net.Conn), ctx: ctx, cancel: cancel}
}

func (l *tunnelListener) add(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.ctx.Done():
		c.Close()
	}
}

func (l *tunnelListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (l *tunnelListener) Close() error   { l.cancel(); return nil }
func (l *tunnelListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
