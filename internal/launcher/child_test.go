package launcher_test

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const (
	insideEnv     = "FJMCP_TEST_INSIDE"
	insideProgram = "/usr/local/lib/fjmcp-test"
)

func inside() bool { return os.Getenv(insideEnv) != "" }

// TestMain also plays the sessions' main process.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "fjmcp-session" {
		os.Exit(session())
	}
	os.Exit(m.Run())
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
	for _, path := range []string{"/run/systemd/journal/socket", "/run/dbus/system_bus_socket",
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
	os.Stderr.WriteString("session talks\n")
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
