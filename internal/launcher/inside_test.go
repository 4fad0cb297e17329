package launcher_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	launchclient "github.com/fjmcp/fjmcp-broker/internal/launcher/client"
	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
)

const (
	launcherSocket = "/run/fjmcp-private/launcher.sock"
	noToken        = "notoken0" // a session the broker knows no token for
)

func tokenOf(id string) string { return "token-of-" + id }

// TestInside runs as root in the container; see TestInContainer.
func TestInside(t *testing.T) {
	if !inside() {
		t.Skip("runs in the container of TestInContainer")
	}
	// The broker as well, before any case changes the settings: one that started with
	// others would end all sessions at its next start, when they are changed back.
	run(t, "systemctl", "start", "fjmcp-broker.socket", "fjmcp-broker.service")
	serveForge(t)
	for name, test := range map[string]func(*testing.T){
		"two sessions":        insideTwoSessions,
		"exists":              insideExists,
		"idle":                insideIdle,
		"max age":             insideMaxAge,
		"touch":               insideTouch,
		"touch while ending":  insideTouchWhileEnding,
		"ends by itself":      insideEndsByItself,
		"no credential":       insideNoCredential,
		"missing forgejo-mcp": insideMissingBackend,
		"files elsewhere":     insideFilesElsewhere,
		"manager comes back":  insideReexec,
		"egress":              insideEgress,
		"broker restarts":     insideBrokerRestarts,
		"socket restarts":     insideSocketRestarts,
		"closed to users":     insideClosedToUsers,
		"units":               insideUnits,
		"limits":              insideLimits,
	} {
		t.Run(name, test)
	}
	assertNothingLeft(t)
}

func run(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// eventually waits for what systemd brings about by itself, as long as the test
// binary's own timeout allows.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline, _ := t.Deadline()
	for !cond() {
		if time.Until(deadline) < 30*time.Second {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// serveForge answers each connection's first line with "forge got <line>".
func serveForge(t *testing.T) {
	t.Helper()
	for _, address := range []string{"127.0.0.1:3000", "[::1]:3000"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		serveOn(t, l)
	}
}

func serveOn(t *testing.T, l net.Listener) {
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(c).ReadString('\n')
			fmt.Fprintf(c, "forge got %s", line)
			c.Close()
		}
	}()
}

// live is a started session with the broker's end of its MCP socket.
type live struct {
	id     string
	report report
	mcp    *os.File
	lines  *bufio.Reader
}

func newSpec(t *testing.T, id string) (spec launchclient.Spec, mcp, control *os.File) {
	t.Helper()
	mcp, theirMCP := socketpair(t, unix.SOCK_STREAM)
	control, theirControl := socketpair(t, unix.SOCK_SEQPACKET)
	return launchclient.Spec{
		UnitID: id, AccountID: "account0", SessionID: "journal0" + id[:8], Idle: time.Hour, MaxAge: time.Hour,
		MCP: theirMCP, Control: theirControl,
	}, mcp, control
}

func socketpair(t *testing.T, typ int) (ours, theirs *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs = os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

func client() *launchclient.Systemd { return launchclient.NewSystemd(launcherSocket, 200) }

func start(t *testing.T, id string, change func(*launchclient.Spec)) *live {
	t.Helper()
	spec, mcp, control := newSpec(t, id)
	if change != nil {
		change(&spec)
	}
	began := time.Now()
	if err := client().Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	t.Logf("started %s in %s", id, time.Since(began).Round(time.Millisecond))
	t.Cleanup(func() { client().Stop(context.WithoutCancel(t.Context()), id) })
	spec.MCP.Close()
	spec.Control.Close()
	s := &live{id: id, mcp: mcp, lines: bufio.NewReader(mcp)}
	buf := make([]byte, 64<<10)
	n, err := control.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(buf[:n], &s.report); err != nil {
		t.Fatalf("%v in %q", err, buf[:n])
	}
	return s
}

func (s *live) say(t *testing.T, line string) string {
	t.Helper()
	if _, err := s.mcp.WriteString(line + "\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := s.lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(answer)
}

// end waits for the session's process to end.
func (s *live) end(t *testing.T) {
	t.Helper()
	if line, err := s.lines.ReadString('\n'); err == nil {
		t.Fatalf("session %s says %q", s.id, line)
	}
}

func unit(id string) string  { return "fjmcp-session@" + id + ".service" }
func timer(id string) string { return "fjmcp-reap@" + id + ".timer" }

func state(t *testing.T, unit string) string {
	t.Helper()
	return run(t, "systemctl", "show", "-P", "ActiveState", unit)
}

// ended also holds for a unit that its timer keeps loaded.
func ended(t *testing.T, id string) bool {
	t.Helper()
	s := state(t, unit(id))
	return s == "inactive" || s == "failed"
}

func assertGone(t *testing.T, id string) {
	t.Helper()
	for _, u := range []string{unit(id), timer(id), "fjmcp-reap@" + id + ".service"} {
		eventually(t, u+" inactive", func() bool { return state(t, u) == "inactive" })
	}
	ids, err := client().List(t.Context())
	if err != nil || slices.Contains(ids, id) {
		t.Errorf("List() = %q, %v", ids, err)
	}
}

func assertNothingLeft(t *testing.T) {
	t.Helper()
	eventually(t, "no session, timer or reaper is loaded", func() bool {
		return run(t, "systemctl", "list-units", "--all", "--no-legend", "--plain", "fjmcp-session@*", "fjmcp-reap@*") == ""
	})
	if left, _ := filepath.Glob("/run/credentials/fjmcp-session@*"); len(left) > 0 {
		t.Errorf("credentials left: %q", left)
	}
	mounts, err := os.ReadFile("/proc/1/mountinfo")
	if err != nil || strings.Contains(string(mounts), "fjmcp-session@") {
		t.Errorf("mounts left: %v\n%s", err, mounts)
	}
}

// checkError is what the launcher finds wrong.
func checkError(t *testing.T) error {
	_, err := client().Check(t.Context())
	return err
}

func assertCode(t *testing.T, err error, code launchproto.Code) *launchclient.Error {
	t.Helper()
	var e *launchclient.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("got %v, want code %s", err, code)
	}
	return e
}
