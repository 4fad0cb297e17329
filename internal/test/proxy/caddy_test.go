package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/test/localbroker"
	"github.com/fjmcp/fjmcp-broker/internal/test/testlog"
)

// ownTLS makes Caddy give out certificates of its own. It would put their root among
// those that this machine trusts.
var ownTLS = []edit{
	{name + " {\n", name + " {\n\ttls internal\n"},
	{"\n{\n", "\n{\n\tskip_install_trust\n"},
}

const caddyLog = "/var/log/caddy/fjmcp.log"

func caddyProgram() string { return filepath.Join(debian, "usr/bin/caddy") }

// startCaddy runs the shipped Caddyfile.
func startCaddy(w *world, edits ...edit) *proxy {
	w.t.Helper()
	return runCaddy(w, shipped(w.t, "caddy/Caddyfile", append(ownTLS, edits...)...))
}

func runCaddy(w *world, text string) *proxy {
	w.t.Helper()
	p := launchCaddy(w, text)
	if err := p.ready(w.host()); err != nil {
		w.t.Fatalf("caddy: %v\n%s", err, p.output)
	}
	root, err := os.ReadFile(filepath.Join(w.dir, "caddy/pki/authorities/local/root.crt"))
	if err != nil {
		w.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	p.tls = &tls.Config{RootCAs: roots}
	return p
}

// launchCaddy starts Caddy and does not wait.
func launchCaddy(w *world, text string) *proxy {
	w.t.Helper()
	file := filepath.Join(w.dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(caddyProgram(), "run", "--config", file)
	cmd.Env = append(os.Environ(), "HOME="+w.dir, "XDG_DATA_HOME="+w.dir, "XDG_CONFIG_HOME="+w.dir)
	return launch(w, cmd, caddyLog)
}

func launch(w *world, cmd *exec.Cmd, log string) *proxy {
	w.t.Helper()
	p := &proxy{t: w.t, log: log, output: &testlog.Buffer{}}
	cmd.Stdout, cmd.Stderr = p.output, p.output
	ended, err := localbroker.Spawn(cmd)
	if err != nil {
		w.t.Fatal(err)
	}
	p.ended = ended
	p.stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = p.end()
	}
	w.t.Cleanup(func() {
		p.stop()
		if w.t.Failed() {
			w.t.Logf("%s:\n%s", filepath.Base(cmd.Path), p.output)
		}
	})
	return p
}

// The shipped file is as Caddy would write it, and Caddy has nothing to say about it.
func TestCaddyfileIsClean(t *testing.T) {
	if missing != nil {
		t.Skip(missing)
	}
	const file = "../../../packaging/caddy/Caddyfile"
	if err := os.MkdirAll("/var/log/caddy", 0o755); err != nil {
		t.Fatal(err)
	}
	if out := caddy(t, "validate", "--config", file); !contains(out, "Valid configuration") || contains(out, `"level":"warn"`, `"level":"error"`) {
		t.Errorf("caddy validate says\n%s", out)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if out := caddy(t, "fmt", file); out != string(before) {
		t.Errorf("caddy fmt would make it\n%s", out)
	}
	for line := range lines(caddy(t, "fmt", "--diff", file)) {
		if line[0] != ' ' {
			t.Errorf("caddy fmt --diff: %s", line)
		}
	}
}

// caddy runs a command of Caddy and returns what it says.
func caddy(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(caddyProgram(), args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("caddy %s: %v\n%s", args[0], err, out)
	}
	return string(out)
}
