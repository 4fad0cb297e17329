package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
	"github.com/fjmcp/fjmcp-broker/internal/test/release"
)

// newcomerCommands are README's, but for those that setup then says: Caddy's.
var newcomerCommands = []string{
	"install -m 0755 forgejo-mcp /usr/local/bin/forgejo-mcp",
	"curl -fsSo /etc/apt/keyrings/fjmcp-broker.asc https://packages.example.org/apt/fjmcp-broker.asc",
	`cat >/etc/apt/sources.list.d/fjmcp-broker.sources <<'END'
Types: deb
URIs: https://packages.example.org/apt/
Suites: stable
Components: main
Signed-By: /etc/apt/keyrings/fjmcp-broker.asc
END`,
	"apt update",
	"apt install fjmcp-broker",
	`fjmcpctl setup --public-url https://mcp.example.org --forgejo-url https://git.example.org \
    --token-file /root/token --yes`,
}

// here puts what is in the container in the place of README's examples. Caddy has a CA of its
// own for names below localhost, where nobody could be asked for certificates.
var here = strings.NewReplacer(
	"https://packages.example.org/apt/", "http://"+nspawn.RepositoryAddress+"/",
	"https://git.example.org", ForgeURL,
	"mcp.example.org", "mcp.localhost", "mcp.your-domain.org", "mcp.localhost",
)

// newcomer is an operator with a fresh Debian who does what README says.
type newcomer struct {
	t      *testing.T
	s      *System
	readme string
	count  int
	log    strings.Builder // each command, with the seconds it took
}

// run runs a command of README's, with "yes" as the answer to each question, and counts it.
func (n *newcomer) run(command string) string {
	n.t.Helper()
	n.count++
	if !strings.Contains(n.readme, "\n"+command+"\n") {
		n.t.Errorf("README does not have the command\n%s", command)
	}
	began := time.Now()
	r, err := n.s.C.Exec(n.t.Context(), nspawn.Cmd{
		Argv:  []string{"/bin/sh", "-c", "cd /root; " + here.Replace(command)},
		Stdin: strings.NewReader("y\n"), Env: []string{"DEBIAN_FRONTEND=noninteractive"},
	})
	must(n.t, err)
	n.note(fmt.Sprint(n.count, "."), began, command)
	if r.Code != 0 {
		n.t.Fatalf("%s: exit status %d\n%s%s\nAll so far:%s", command, r.Code, r.Stdout, r.Stderr, n.log.String())
	}
	return r.Stdout
}

func (n *newcomer) note(number string, began time.Time, what string) {
	fmt.Fprintf(&n.log, "\n%3s %6.1f s  %s", number, time.Since(began).Seconds(), strings.ReplaceAll(what, "\n", "\n"+strings.Repeat(" ", 14)))
}

// TestE2ENewcomer goes from a Debian that has never seen the project, with forgejo-mcp in
// root's home, a token of the forge's and nothing else, to the first login and call through
// Caddy. It counts the commands.
func TestE2ENewcomer(t *testing.T) {
	for _, tool := range []string{"gpg", "apt-ftparchive"} {
		if _, err := exec.LookPath(tool); err != nil && os.Getenv("CI") == "" {
			t.Skip("a signed repository is made with " + tool + ", which is not here")
		}
	}
	readme, err := os.ReadFile(repository + "/README.md")
	must(t, err)
	for _, suite := range []string{"bookworm", "trixie"} {
		t.Run(suite, func(t *testing.T) { newcomerOn(t, suite, string(readme)) })
	}
}

func newcomerOn(t *testing.T, suite, readme string) {
	s := freshDebian(t, suite)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(journal(s, "-u", "caddy.service", "-n", "50"))
		}
	})
	_, err := s.C.Shell(t.Context(), "! command -v caddy; ! dpkg -s fjmcp-broker 2>/dev/null")
	must(t, err)
	n := &newcomer{t: t, s: s, readme: readme}
	began := time.Now()
	var out string
	for _, command := range newcomerCommands {
		out = n.run(command)
	}
	for _, command := range commandsFor(t, out, "Caddy, for TLS") {
		n.run(strings.Replace(command, "/mcp.localhost/", "/mcp.your-domain.org/", 1))
	}
	login := time.Now()
	transport := throughCaddy(t, s)
	browser := loginclient.NewBrowser(transport, "bob", "bob-password")
	c, err := loginclient.Connect(t.Context(), loginclient.Config{
		MCPURL: "https://mcp.localhost/mcp", Transport: transport, Browser: browser, Steps: logWhileRunning(t),
	})
	must(t, err)
	useTools(t, c, "bob")
	must(t, c.Close())
	n.note("", login, "first login and call")
	t.Logf("Debian's %s: %d commands and %.0f s from nothing to the first call:%s", suite, n.count, time.Since(began).Seconds(), n.log.String())
	if n.count > 8 {
		t.Errorf("%d commands, want 8 at most", n.count)
	}
}

// freshDebian is a Debian with a forge and two apt repositories in reach: its own and a
// release's.
func freshDebian(t *testing.T, suite string) *System {
	t.Helper()
	if err := nspawn.Check(); err != nil {
		t.Skip(err)
	}
	deb, err := Deb()
	must(t, err)
	key, err := release.NewKey(t.Context())
	must(t, err)
	t.Cleanup(func() { must(t, key.Remove()) })
	files, err := release.NewRepository(t.Context(), t.TempDir(), key, deb)
	must(t, err)
	root, err := nspawn.Root(t.Context(), suite)
	must(t, err)
	container, err := nspawn.Boot(t.Context(), root)
	must(t, err)
	s := &System{C: container, transport: &http.Transport{DialContext: container.DialContext}}
	closeAfter(t, s)
	for _, serve := range []func(context.Context) (func(), error){
		container.AddMirror,
		func(ctx context.Context) (func(), error) { return container.ServeRepository(ctx, files) },
	} {
		stop, err := serve(t.Context())
		must(t, err)
		t.Cleanup(stop)
	}
	// As Debian's installer leaves it.
	must(t, container.WriteFile("/etc/hosts", []byte("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"), 0o644))
	must(t, s.startForge(t.Context(), Options{}))
	must(t, container.CopyIn(standin(t), "/root/forgejo-mcp", 0o755))
	token, err := s.Forge.PersonalToken("alice", "write:user")
	must(t, err)
	must(t, container.WriteFile("/root/token", []byte(token+"\n"), 0o600))
	return s
}

// commandsFor are the indented lines below the one that begins so.
func commandsFor(t *testing.T, text, begin string) (commands []string) {
	t.Helper()
	_, rest, _ := strings.Cut(text, "\n"+begin)
	for i, line := range strings.Split(rest, "\n") {
		command, indented := strings.CutPrefix(line, "  ")
		switch {
		case indented:
			commands = append(commands, command)
		case i > 0 && len(commands) > 0:
			return commands
		}
	}
	t.Fatalf("no commands after %q in\n%s", begin, text)
	return nil
}

// throughCaddy is the container's network for who trusts Caddy's own CA. It waits until Caddy
// has its certificate.
func throughCaddy(t *testing.T, s *System) *http.Transport {
	t.Helper()
	const authority = "/var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt"
	pem, err := s.C.ReadFile(authority)
	must(t, err)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("no certificate in %s", authority)
	}
	transport := &http.Transport{DialContext: s.C.DialContext, TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	await(t, "Caddy's certificate", func() bool {
		r, err := (&http.Client{Transport: transport}).Get("https://mcp.localhost/livez")
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
	return transport
}
