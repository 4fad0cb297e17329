// Package e2e puts the whole system together as an operator would: the built
// Debian package installed in a container that systemd runs, configured through
// /etc/fjmcp, beside a fake forge that listens in the container's network. Its
// tests walk through it with the official Go SDK's client and a scripted
// browser, and then look around.
//
// It needs root and what nspawn.Check names. Environment:
//
//	FJMCP_E2E_DEB            the package to install; `make deb` builds one if unset
//	FJMCP_TEST_FORGEJO_MCP   a forgejo-mcp binary, for the tests that want the real one
//	FJMCP_SOAK               how long to soak, 45s if unset; `make soak` takes half an hour
//	FJMCP_E2E_ABANDONED      how many sessions to begin and leave, 150 if unset; `make abandoned` takes 1000
//	FJMCP_E2E_CROWD          how many sessions live at once, 420 if unset; `make crowd` takes 1000
package e2e

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
)

// What the system is configured with.
const (
	PublicURL    = "http://127.0.0.1:8080"
	ForgeURL     = "http://forgejo.localhost:3000"
	ClientID     = "fjmcp"
	ClientSecret = "e2e-client-secret-3f9c1d"

	envFile    = "/etc/fjmcp/broker.env"
	secretFile = "/etc/fjmcp/credentials/forgejo-client-secret"
	backend    = "/usr/bin/forgejo-mcp"
)

// Options say what to install.
type Options struct {
	Suite   string      // Debian's name; empty means bookworm
	Deb     string      // the package
	Backend string      // program that stands at /usr/bin/forgejo-mcp; empty means none yet
	URL     string      // of the forge, empty means ForgeURL
	TLS     *tls.Config // of the forge, which then listens on port 443 of the container's loopback
	// Around, if set, stands between the network and the forge.
	Around func(http.Handler) http.Handler
}

// System is an installed broker with a forge beside it.
type System struct {
	C     *nspawn.Container
	Forge *fakeforge.Server // in the container

	transport *http.Transport
}

// Install boots a container, installs the package in it and starts the forge. It
// neither configures nor enables anything. The caller must Close the System.
func Install(ctx context.Context, o Options) (*System, error) {
	root, err := nspawn.Root(ctx, cmp.Or(o.Suite, "bookworm"))
	if err != nil {
		return nil, err
	}
	c, err := nspawn.Boot(ctx, root)
	if err != nil {
		return nil, err
	}
	s := &System{C: c, transport: &http.Transport{DialContext: c.DialContext}}
	if err := s.install(ctx, o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *System) install(ctx context.Context, o Options) error {
	if err := s.C.CopyIn(o.Deb, "/root/fjmcp-broker.deb", 0o644); err != nil {
		return err
	}
	if err := s.InstallDeb(ctx); err != nil {
		return err
	}
	if o.Backend != "" {
		if err := s.InstallBackend(o.Backend); err != nil {
			return err
		}
	}
	if err := s.startForge(ctx, o); err != nil {
		return err
	}
	_, err := s.Forge.Register(fakeforge.App{
		Name: "MCP broker", ClientID: ClientID, ClientSecret: ClientSecret,
		RedirectURIs: []string{PublicURL + "/oauth/callback"},
	})
	return err
}

func (s *System) startForge(ctx context.Context, o Options) error {
	listen := func() (net.Listener, error) {
		if o.TLS == nil {
			return s.C.Listen(ctx, "tcp", strings.TrimPrefix(ForgeURL, "http://"))
		}
		l, err := s.C.Listen(ctx, "tcp", "127.0.0.1:443")
		if err != nil {
			return nil, err
		}
		return tls.NewListener(l, o.TLS), nil
	}
	l, err := listen()
	if err != nil {
		return err
	}
	if s.Forge, err = fakeforge.Serve(fakeforge.Config{URL: cmp.Or(o.URL, ForgeURL), Around: o.Around}, l); err != nil {
		return err
	}
	s.Forge.Listen = listen
	return nil
}

// InstallDeb runs apt, which finds all dependencies installed: there is no
// network.
func (s *System) InstallDeb(ctx context.Context) error {
	_, err := s.C.Shell(ctx, "DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends --reinstall /root/fjmcp-broker.deb 2>&1")
	return err
}

// InstallBackend puts a program of the host at /usr/bin/forgejo-mcp.
func (s *System) InstallBackend(path string) error { return s.C.CopyIn(path, backend, 0o755) }

// Configure writes /etc/fjmcp/broker.env, with extra settings besides the three
// that are required (an empty value leaves one out), and the client secret.
func (s *System) Configure(extra map[string]string) error {
	env := map[string]string{
		"FJMCP_BROKER_PUBLIC_URL":        PublicURL,
		"FJMCP_BROKER_FORGEJO_URL":       ForgeURL,
		"FJMCP_BROKER_FORGEJO_CLIENT_ID": ClientID,
	}
	maps.Copy(env, extra)
	var text strings.Builder
	for name, value := range env {
		if value != "" {
			fmt.Fprintf(&text, "%s=%s\n", name, value)
		}
	}
	if err := s.C.WriteFile(envFile, []byte(text.String()), 0o644); err != nil {
		return err
	}
	return s.SetClientSecret(ClientSecret)
}

// SetClientSecret writes the credential as an operator would.
func (s *System) SetClientSecret(secret string) error {
	return s.C.WriteFile(secretFile, []byte(secret+"\n"), 0o600)
}

// Enable is the one command that makes the broker reachable.
func (s *System) Enable(ctx context.Context) error {
	_, err := s.C.Run(ctx, "systemctl", "enable", "--now", "fjmcp-broker.socket")
	return err
}

// Transport carries HTTP into the container's network.
func (s *System) Transport() *http.Transport { return s.transport }

// HTTP returns a client in the container's network that follows no redirects.
func (s *System) HTTP() *http.Client {
	return &http.Client{Transport: s.transport, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Browser returns a new browser of a person whose password is the default one.
func (s *System) Browser(user string, steps func(string)) *loginclient.Browser {
	b := loginclient.NewBrowser(s.transport, user, user+"-password")
	b.Steps = steps
	return b
}

// Forward forwards a port of the host's loopback to the same of the container, until ctx
// ends.
func (s *System) Forward(ctx context.Context, address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	go func() {
		for in, err := l.Accept(); err == nil; in, err = l.Accept() {
			go s.forward(ctx, in, address)
		}
	}()
	return nil
}

func (s *System) forward(ctx context.Context, in net.Conn, address string) {
	defer in.Close()
	out, err := s.C.DialContext(ctx, "tcp", address)
	if err != nil {
		return
	}
	defer out.Close()
	defer context.AfterFunc(ctx, func() { in.Close(); out.Close() })()
	go func() { io.Copy(out, in); out.Close() }()
	io.Copy(in, out)
}

// Close ends the forge and the container.
func (s *System) Close() error {
	if s.Forge != nil {
		s.Forge.Stop()
	}
	s.transport.CloseIdleConnections()
	return s.C.Close()
}

// Property returns one property of a unit as systemctl shows it.
func (s *System) Property(ctx context.Context, unit, name string) (string, error) {
	out, err := s.C.Run(ctx, "systemctl", "show", "--value", "--property="+name, unit)
	return strings.TrimSpace(out), err
}

// Deb returns the package under test, $FJMCP_E2E_DEB or what `make deb` builds, once.
var Deb = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("FJMCP_E2E_DEB"); path != "" {
		return path, nil
	}
	// Tests run in their package's folder, three below the repository's. One builds, others wait.
	const repository = "../../.."
	if out, err := exec.Command("flock", repository+"/debian", "make", "--no-print-directory", "-C", repository, "deb").CombinedOutput(); err != nil {
		return "", fmt.Errorf("make deb: %w\n%s", err, out)
	}
	arch, err := exec.Command("dpkg", "--print-architecture").Output()
	if err != nil {
		return "", err
	}
	found, err := filepath.Glob(repository + "/dist/fjmcp-broker_*_" + strings.TrimSpace(string(arch)) + ".deb")
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("want one package in dist/, found %v", found)
	}
	return filepath.Abs(found[0])
})
