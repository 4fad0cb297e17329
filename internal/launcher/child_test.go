package launcher_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/systemd"
	"github.com/fjmcp/fjmcp-broker/internal/launcher/credential"
)

const (
	insideEnv     = "FJMCP_TEST_INSIDE"
	insideProgram = "/usr/local/lib/fjmcp-test"
)

func inside() bool { return os.Getenv(insideEnv) != "" }

// TestMain also plays the sessions' main process and the broker's.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "fjmcp-session":
		os.Exit(session())
	case "fjmcp-broker":
		os.Exit(broker())
	}
	os.Exit(m.Run())
}

// broker says which credentials it got and hands out the sessions'.
func broker() int {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	for _, name := range names(dir) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		fmt.Printf("credential %s: %q %v\n", name, data, err)
	}
	token := func(id string) (string, error) {
		if id == noToken {
			return "", errors.New("no such session")
		}
		return tokenOf(id), nil
	}
	passed, err := systemd.Inherited()
	if err == nil && len(passed.Sockets["http"]) == 2 && len(passed.Sockets["admin"]) == 1 && len(passed.Sockets["credentials"]) == 1 {
		go systemd.Watchdog(ctx, func() bool { return true })
		err = errors.Join(systemd.Notify(systemd.Ready), credential.Serve(ctx, passed.Sockets["credentials"][0], token, slog.Default()))
	} else {
		err = fmt.Errorf("inherited %v, %w", passed.Sockets, err)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// report is what a session says of itself on its control socket.
type report struct {
	UID     int
	Token   string
	Env     []string
	Root    []string // of the file system
	Etc     []string
	Run     []string
	Reaches map[string]bool // unix sockets
	Stderr  string          // what file descriptor 2 is
}

func names(dir string) (all []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// session reports, then obeys the lines on the MCP socket.
func session() int {
	token, _ := os.ReadFile(filepath.Join(os.Getenv("CREDENTIALS_DIRECTORY"), "forgejo-token"))
	r := report{
		UID: os.Getuid(), Token: string(token), Env: os.Environ(),
		Root: names("/"), Etc: names("/etc"), Run: names("/run"), Reaches: make(map[string]bool),
	}
	for _, path := range []string{"/run/systemd/journal/stdout", "/run/systemd/private", "/run/dbus/system_bus_socket",
		"/run/fjmcp-private/credentials.sock", "/run/fjmcp/egress.sock"} {
		c, err := net.Dial("unix", path)
		if r.Reaches[path] = err == nil; err == nil {
			c.Close()
		}
	}
	r.Stderr, _ = os.Readlink("/proc/self/fd/2")
	data, _ := json.Marshal(r)
	if _, err := os.NewFile(1, "control").Write(data); err != nil {
		os.Stderr.WriteString("cannot report: " + err.Error() + "\n")
		return 1
	}
	os.Stderr.WriteString("session talks\n<0>session shouts\n")
	if c, err := net.Dial("unixgram", "/run/systemd/journal/socket"); err == nil {
		c.Write([]byte("PRIORITY=0\nFJMCP_EVENT=login\nMESSAGE=session forges\n"))
		c.Close()
	}
	return obey(os.NewFile(0, "mcp"))
}

// obey acts on "ignore-term" and "exit", passes on "egress …", answers
// "read <file>", and echoes the rest.
func obey(mcp *os.File) int {
	lines := bufio.NewScanner(mcp)
	for lines.Scan() {
		answer := lines.Text()
		switch {
		case answer == "ignore-term":
			signal.Ignore(syscall.SIGTERM)
		case answer == "exit":
			return 0
		case strings.HasPrefix(answer, "egress "):
			answer = throughEgress(answer)
		case strings.HasPrefix(answer, "read "):
			data, err := os.ReadFile(strings.TrimPrefix(answer, "read "))
			answer = string(data)
			if err != nil {
				answer = err.Error()
			}
		}
		mcp.WriteString(answer + "\n")
	}
	return 0
}

// throughEgress sends a line to the forge and returns its answer.
func throughEgress(line string) string {
	c, err := net.Dial("unix", os.Getenv("FJMCP_SESSION_EGRESS"))
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	c.Write([]byte(line + "\n"))
	answer, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(answer)
}
