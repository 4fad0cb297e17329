package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
)

const repository = "../../.."

// scratch holds the programs that tests build.
var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "fjmcp-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	os.RemoveAll(scratch)
	os.Exit(status)
}

// program builds a program statically, so that it runs in any container.
func program(t *testing.T, pkg string) string {
	t.Helper()
	path := filepath.Join(scratch, filepath.Base(pkg))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	cmd := exec.Command("go", "build", "-o", path, pkg)
	cmd.Dir = repository
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build %s: %v\n%s", pkg, err, out)
	}
	return path
}

func standin(t *testing.T) string { return program(t, "./internal/test/fakemcp") }

// install returns an installed system that ends with the test. When the test
// fails its log shows what the journal says.
func install(t *testing.T, backend string) *System {
	t.Helper()
	return installIn(t, "bookworm", backend)
}

// installIn is install in a container with Debian's suite.
func installIn(t *testing.T, suite, backend string) *System {
	t.Helper()
	if err := nspawn.Check(); err != nil {
		t.Skip(err)
	}
	path, err := Deb()
	if err != nil {
		t.Fatal(err)
	}
	s, err := Install(t.Context(), Options{Suite: suite, Deb: path, Backend: backend})
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, s)
	return s
}

func closeAfter(t *testing.T, s *System) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(journal(s, "--namespace=+fjmcp", "-n", "150", "-u", "fjmcp-*"))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// enabled is install with a complete configuration and the socket enabled.
func enabled(t *testing.T, backend string, extra map[string]string) *System {
	t.Helper()
	s := install(t, backend)
	must(t, s.Configure(extra))
	must(t, s.Enable(t.Context()))
	return s
}

// journal returns messages as text. It works after the test's context ends.
func journal(s *System, args ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	entries, err := s.C.Journal(ctx, args...)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, e := range entries {
		unit := e["UNIT"] // what systemd's own line is about
		if unit == "" {
			unit = e["_SYSTEMD_UNIT"]
		}
		fmt.Fprintf(&b, "%s: %s\n", unit, e["MESSAGE"])
	}
	return b.String()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func connect(t *testing.T, s *System, user string) *loginclient.Client {
	t.Helper()
	c, err := s.Connect(t.Context(), user, logWhileRunning(t))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// logWhileRunning is t.Log for a client that may still come back for its stream
// when the test is over.
func logWhileRunning(t *testing.T) func(string) {
	var mu sync.Mutex
	over := false
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
	})
	return func(step string) {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			t.Log(step)
		}
	}
}

// await polls cond for up to three minutes, on a machine that does much else.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(roundTimeout); !cond(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func units(t *testing.T, s *System) []Unit {
	t.Helper()
	u, err := s.Units(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// call calls a tool and returns its text.
func call(t *testing.T, c *loginclient.Client, tool string, args any) string {
	t.Helper()
	r, err := c.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	if r.IsError || len(r.Content) == 0 {
		t.Fatalf("%s: got %+v", tool, r)
	}
	text, ok := r.Content[0].(*mcp.TextContent)
	if !ok {
		t.Fatalf("%s: got %T", tool, r.Content[0])
	}
	return text.Text
}

// run runs a command in the container; it must succeed.
func run(t *testing.T, s *System, argv ...string) string {
	t.Helper()
	out, err := s.C.Run(t.Context(), argv...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// active lists the units of the package that run.
func active(t *testing.T, s *System) []string {
	t.Helper()
	var names []string
	for line := range strings.Lines(run(t, s, "systemctl", "list-units", "--plain", "--no-legend", "--state=active,activating", "fjmcp-*")) {
		names = append(names, strings.Fields(line)[0])
	}
	return names
}
