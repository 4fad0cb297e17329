// Package fakeweb stands a small web in for the internet: TLS servers of many names,
// for tests of what clientmeta fetches.
package fakeweb

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/clientmeta"
)

// Web serves pages of https hosts from one loopback port.
type Web struct {
	Address netip.AddrPort // where it listens

	t     testing.TB
	roots *x509.CertPool
	mu    sync.Mutex
	pages map[string]http.HandlerFunc // by URL without query
	hits  map[string]int
	conns atomic.Int64
}

// Start starts an empty web, which ends with the test.
func Start(t testing.TB) *Web {
	t.Helper()
	w := &Web{t: t, pages: map[string]http.HandlerFunc{}, hits: map[string]int{}}
	s := httptest.NewUnstartedServer(http.HandlerFunc(w.serve))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{w.certificate()}}
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			w.conns.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	w.Address = netip.MustParseAddrPort(s.Listener.Addr().String())
	return w
}

// certificate has the web be whatever host below .example, .com, .ai and .dev.
func (w *Web) certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	self := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fakeweb"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"*.example", "*.com", "*.ai", "*.dev"},
	}
	der, err := x509.CreateCertificate(rand.Reader, self, self, key.Public(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	if self, err = x509.ParseCertificate(der); err != nil {
		w.t.Fatal(err)
	}
	w.roots = x509.NewCertPool()
	w.roots.AddCert(self)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (w *Web) serve(rw http.ResponseWriter, r *http.Request) {
	url := "https://" + r.Host + r.URL.Path
	w.mu.Lock()
	page := w.pages[url]
	w.hits[url]++
	w.mu.Unlock()
	if page == nil {
		http.NotFound(rw, r)
		return
	}
	page(rw, r)
}

// Handle sets what answers at a URL.
func (w *Web) Handle(url string, page http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pages[url] = page
}

// JSON serves a body as application/json at a URL.
func (w *Web) JSON(url, body string) {
	w.Handle(url, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write([]byte(body))
	})
}

// Hits returns how often a URL was asked for.
func (w *Web) Hits(url string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hits[url]
}

// Connections returns how many connections were made to the web.
func (w *Web) Connections() int { return int(w.conns.Load()) }

// Configure makes a Fetcher resolve every name to the web, trust it, and be
// allowed to connect to it and to nothing else.
func (w *Web) Configure(cfg *clientmeta.Config) {
	w.Resolve(cfg)
	cfg.Allow = func(to netip.AddrPort) error {
		if to != w.Address {
			return errors.New("not the test's web")
		}
		return nil
	}
}

// Resolve does the same and leaves the guard as it is.
func (w *Web) Resolve(cfg *clientmeta.Config) {
	cfg.Roots = w.roots
	cfg.Resolve = func(context.Context, string, uint16) ([]netip.AddrPort, error) {
		return []netip.AddrPort{w.Address}, nil
	}
}
