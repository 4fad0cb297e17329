package launcher_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
)

// TestInContainer runs the tests of inside_test.go in a container with a real
// systemd, the shipped units and the real launcher. There the test program is
// the broker and, under another name, the sessions' main process.
func TestInContainer(t *testing.T) {
	if inside() {
		t.Skip("already inside")
	}
	if testing.Short() {
		t.Skip("boots a container")
	}
	if err := nspawn.Check(); err != nil {
		t.Skip(err)
	}
	for _, suite := range []string{"bookworm", "trixie"} {
		t.Run(suite, func(t *testing.T) { runInContainer(t, suite) })
	}
}

func runInContainer(t *testing.T, suite string) {
	ctx := t.Context()
	root, err := nspawn.Root(ctx, suite)
	if err != nil {
		t.Fatal(err)
	}
	c, err := nspawn.Boot(ctx, root)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	install(t, c)
	r, err := c.Exec(ctx, nspawn.Cmd{
		Argv: []string{insideProgram, "-test.v", "-test.run=^TestInside", "-test.timeout=5m"},
		Env:  []string{insideEnv + "=1", "HOME=/root"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r.Stdout)
	if r.Code != 0 || !strings.Contains(r.Stdout, "--- PASS: TestInside") {
		log, _ := c.Shell(ctx, "journalctl --namespace=+fjmcp --no-pager -n 150")
		t.Errorf("exit status %d\n%s\n%s", r.Code, r.Stderr, log)
	}
}

// install puts the units and programs where the package does.
func install(t *testing.T, c *nspawn.Container) {
	t.Helper()
	dir := t.TempDir()
	build(t, "build", "-o", dir, "../../cmd/fjmcp-launcher")
	build(t, "test", "-c", "-o", filepath.Join(dir, "inside"), ".")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.CopyIn(filepath.Join(dir, "fjmcp-launcher"), "/usr/libexec/fjmcp/fjmcp-launcher", 0o755))
	must(c.CopyIn(filepath.Join(dir, "inside"), insideProgram, 0o755))
	units := "../../units"
	must(filepath.WalkDir(units, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(units, path)
		return c.CopyIn(path, filepath.Join("/usr/lib/systemd/system", rel), 0o644)
	}))
	if _, err := c.Shell(t.Context(), setup); err != nil {
		t.Fatal(err)
	}
}

// setup stands for the package's sysusers.d, tmpfiles.d and directories.
const setup = `
ln ` + insideProgram + ` /usr/libexec/fjmcp/fjmcp-session
ln ` + insideProgram + ` /usr/bin/forgejo-mcp
ln ` + insideProgram + ` /usr/sbin/fjmcp-broker
ln ` + insideProgram + ` /usr/bin/fjmcpctl
mkdir -p -m 0700 /etc/fjmcp/credentials
echo FJMCP_BROKER_FORGEJO_URL=http://forgejo.localhost:3000 >/etc/fjmcp/broker.env
for root in /var/lib/fjmcp-session-root /var/lib/fjmcp-broker-root; do
mkdir -p $root && cd $root
mkdir -p usr proc sys dev run etc/ssl/certs opt srv tmp var/tmp var/lib/fjmcp
ln -s usr/bin usr/sbin usr/lib usr/lib64 .
done
echo 'u fjmcp - "fjmcp"' >/usr/lib/sysusers.d/fjmcp.conf
printf '%s\n' 'd /run/fjmcp 0755 root root' 'd /run/fjmcp-private 0710 root fjmcp' \
	'd /run/fjmcp-private/egress 0755 root root' >/usr/lib/tmpfiles.d/fjmcp.conf
systemd-sysusers fjmcp.conf
systemd-tmpfiles --create fjmcp.conf
systemctl daemon-reload
`

func build(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
