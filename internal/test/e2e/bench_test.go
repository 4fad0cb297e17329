package e2e

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
)

// The forge of a bench: by a name that is in /etc/hosts, and with a CA of its own.
const (
	benchHost = "git.example.test"
	caFile    = "/etc/fjmcp/forge-ca.pem"
)

// bench is an installed system to be broken, with a user logged in.
type bench struct {
	*System
	ca      *x509.Certificate
	caKey   *ecdsa.PrivateKey
	good    *tls.Certificate
	shown   atomic.Pointer[tls.Certificate] // by the forge
	login   tokens                          // of alice's client
	session *raw                            // of hers
	backend string                          // on the host
	restore func()                          // restores the forge
	since   string                          // the break, in the journal
	ill     bool                            // as the last row left it
}

func newBench(t *testing.T) *bench {
	t.Helper()
	if err := nspawn.Check(); err != nil {
		t.Skip(err)
	}
	deb, err := Deb()
	must(t, err)
	b := &bench{backend: standin(t)}
	b.ca, b.caKey = certificate(t, nil, nil, time.Now().Add(time.Hour))
	leaf, leafKey := certificate(t, b.ca, b.caKey, time.Now().Add(time.Hour))
	b.good = &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: leafKey}
	b.shown.Store(b.good)
	b.System, err = Install(t.Context(), Options{Deb: deb, Backend: b.backend, URL: "https://" + benchHost, TLS: &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return b.shown.Load(), nil },
	}})
	must(t, err)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	roots := x509.NewCertPool()
	roots.AddCert(b.ca)
	b.transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	b.transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return b.C.DialContext(ctx, network, strings.Replace(addr, benchHost, "127.0.0.1", 1))
	}
	must(t, b.C.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.ca.Raw}), 0o644))
	must(t, b.C.WriteFile("/etc/hosts", []byte("127.0.0.1 localhost\n127.0.0.1 "+benchHost+"\n"), 0o644))
	// A small disk of its own for the database.
	run(t, b.System, "mkdir", "-p", "/var/lib/fjmcp")
	run(t, b.System, "mount", "-t", "tmpfs", "-o", "size=16m,mode=0700,uid=fjmcp,gid=fjmcp", "tmpfs", "/var/lib/fjmcp")
	must(t, b.Configure(map[string]string{
		"FJMCP_BROKER_FORGEJO_URL": "https://" + benchHost, "FJMCP_BROKER_FORGEJO_CA_FILE": caFile,
		"FJMCP_BROKER_START_TIMEOUT": "10s", // for one that hangs
	}))
	must(t, b.Enable(t.Context()))
	b.connect(t)
	b.restore = b.Forge.Backup()
	must(t, b.logIn(t))
	b.Forge.ExpireAccessTokens()
	must(t, b.call(t)) // by which the grant's counter goes on
	return b
}

// certificate makes one for the forge's host, signed by an authority, or an authority
// where that is nil.
func certificate(t *testing.T, ca *x509.Certificate, by *ecdsa.PrivateKey, until time.Time) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(until.UnixNano()), NotBefore: until.Add(-24 * time.Hour), NotAfter: until, DNSNames: []string{benchHost}}
	if ca == nil {
		template.IsCA, template.BasicConstraintsValid, ca, by = true, true, template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, &key.PublicKey, by)
	must(t, err)
	made, err := x509.ParseCertificate(der)
	must(t, err)
	return made, key
}

// endConnections ends those that are kept to the forge.
func (b *bench) endConnections(t *testing.T) {
	t.Helper()
	b.Forge.Stop()
	must(t, b.Forge.Resume())
}

// connect logs alice in anew and begins a session, which is hers from then on.
func (b *bench) connect(t *testing.T) {
	t.Helper()
	b.login = logIn(t, b.System, "alice")
	var err error
	b.session, err = rawClient(t.Context(), b.System, b.login.Access)
	must(t, err)
}

// logIn has bob log in with a new client, call a tool and leave.
func (b *bench) logIn(t *testing.T) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := b.Connect(ctx, "bob", nil)
	if err == nil {
		useTools(t, c, "bob")
		err = c.Close()
	}
	return err
}

func (b *bench) call(t *testing.T) error {
	t.Helper()
	_, err := b.session.tool(t.Context(), 1, "get_my_user_info", nil)
	return err
}

// cursor is the journal's end.
func (b *bench) cursor(t *testing.T) string {
	t.Helper()
	last := entries(t, b.System, "--namespace=+fjmcp", "-n", "1", "-u", "fjmcp-*")
	return last[0]["__CURSOR"]
}

// said is what the journals say of the package since the break, but for the audit, what
// sessions write, and the coming and going of their units.
func (b *bench) said(t *testing.T) (lines []string) {
	t.Helper()
	for _, e := range entries(t, b.System, "--namespace=+fjmcp", "--after-cursor="+b.since, "-u", "fjmcp-*") {
		for name, value := range e {
			b.noSecret(t, "the journal's "+name, value)
		}
		unit := cmp.Or(e["UNIT"], e["_SYSTEMD_UNIT"])
		if e["FJMCP_EVENT"] == "" && !strings.Contains(unit, "@") {
			lines = append(lines, unit+": "+e["MESSAGE"])
		}
	}
	return lines
}

func (b *bench) noSecret(t *testing.T, where, said string) {
	t.Helper()
	for i, secret := range append(b.Secrets(), b.login.Access, b.login.Refresh) {
		if strings.Contains(said, secret) {
			t.Errorf("%s tells secret %d", where, i)
		}
	}
}
