package sandbox_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"golang.org/x/sys/unix"
)

// report is what the stand-in's tool probe answers.
type report struct {
	PPID    int               `json:"ppid"`
	Environ []string          `json:"environ"`
	Args    []string          `json:"args"`
	Files   []string          `json:"files"`
	Tried   map[string]string `json:"tried"`
	Content map[string]string `json:"content"`
}

// hasLandlock reports whether this kernel offers Landlock to this process.
func hasLandlock() bool {
	_, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	return errno == 0
}

func TestBackendSeesNoToken(t *testing.T) {
	forge := newForge(t)
	token := forge.token(t, "alice")
	r := startOn(t, "https", forge, token)
	r.want(control.TypeReady)
	s := r.connect()
	mustCall(t, s, "get_my_user_info", nil, `"alice"`) // the token is there to be found

	credential := filepath.Join(r.creds, "forgejo-token")
	secret := filepath.Join(t.TempDir(), "other-file")
	if err := os.WriteFile(secret, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	paths := []string{credential, secret, r.creds, "/root", "/run", "/tmp", "/sys", "/sys/fs/cgroup", "/sys/kernel/mm", "/etc/shadow", "/etc/passwd-",
		fmt.Sprintf("/proc/%d/cwd/%s", os.Getpid(), credential), fmt.Sprintf("/proc/%d/environ", os.Getpid())}
	text, failed := call(t, s, "probe", map[string]any{"paths": append([]string{"/proc/self/status", "/proc/self/stat"}, paths...), "sockets": listeners(t)})
	if failed {
		t.Fatal(text)
	}
	var got report
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, token) {
		t.Error("the backend can see the token")
	}
	checkHeld(t, got)
	checkCalls(t, got)
	if !hasLandlock() {
		t.Skip("SKIP: this kernel has no Landlock; files and the parent's /proc were not checked")
	}
	checkFiles(t, got, paths)
}

// listeners returns an AF_UNIX path and an abstract address that accept.
func listeners(t *testing.T) []string {
	addrs := []string{filepath.Join(t.TempDir(), "sock"), fmt.Sprintf("@fjmcp-inject-test-%d", os.Getpid())}
	for _, a := range addrs {
		l, err := net.Listen("unix", a)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
	}
	return addrs
}

// checkHeld checks what the backend holds from its start.
func checkHeld(t *testing.T, got report) {
	names := []string{"PATH", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "GOMAXPROCS", "GOGC"}
	for _, kv := range got.Environ {
		if name, _, _ := strings.Cut(kv, "="); !slices.Contains(names, name) {
			t.Errorf("the backend's environment holds %s", name)
		}
	}
	want := []string{"--transport", "stdio", "--url", "https://example.com", "--user-agent", "fjmcp"}
	if !slices.Equal(got.Args[1:], want) {
		t.Errorf("the backend's arguments are %q", got.Args)
	}
	status := got.Content["/proc/self/status"]
	for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000"} {
		if !strings.Contains(status, want+"\n") {
			t.Errorf("the backend's status lacks %q", want)
		}
	}
	_, stat, _ := strings.Cut(got.Content["/proc/self/stat"], ") ")
	if nice := strings.Fields(stat); len(nice) < 17 || nice[16] != "5" {
		t.Errorf("the backend's niceness is not 5: %q", stat)
	}
	pid, _, _ := strings.Cut(got.Content["/proc/self/stat"], " ")
	slack, err := os.ReadFile("/proc/" + pid + "/timerslack_ns")
	if errors.Is(err, os.ErrPermission) {
		t.Log("only root sees the slack of timers")
	} else if err != nil || string(slack) != "5000000\n" {
		t.Errorf("the backend's timers have a slack of %q ns, %v", slack, err)
	}
	// What it was given: MCP twice, stderr, the certificate. The rest its own
	// runtime opened: the poller and connections to the proxy.
	var memory int
	for _, f := range got.Files {
		if strings.Contains(f, "memfd:") {
			memory++
		}
		if strings.Contains(f, "forgejo-token") {
			t.Errorf("the backend inherited %q", f)
		}
	}
	if memory != 1 {
		t.Errorf("the certificate is not among the backend's descriptors %q", got.Files)
	}
}

// checkCalls checks what seccomp refuses, and that it lets IP through.
func checkCalls(t *testing.T, got report) {
	for what, result := range got.Tried {
		call := strings.HasPrefix(what, "socket") || strings.HasPrefix(what, "connect ") ||
			slices.Contains([]string{"memfd_create", "io_uring_setup", "ptrace parent", "process_vm_readv parent", "pidfd_getfd parent"}, what)
		switch {
		case what == "socket inet" || what == "socket inet6":
			if result != "" {
				t.Errorf("%s: %s", what, result)
			}
		case call && result != unix.EPERM.Error():
			t.Errorf("%s: got %q, want EPERM", what, result)
		}
	}
}

// checkFiles checks that every path to the token was tried and refused.
func checkFiles(t *testing.T, got report, paths []string) {
	want := []string{"read parent's mem", "write parent's mem", "write parent's fd 2", "readlink parent's fd 0", "readlink parent's fd 3"}
	for _, p := range paths {
		want = append(want, "read "+p)
	}
	for _, name := range []string{"environ", "maps", "auxv", "root/etc/passwd"} {
		want = append(want, fmt.Sprintf("read /proc/%d/%s", got.PPID, name))
	}
	for _, what := range want {
		result, tried := got.Tried[what]
		// A path that does not exist proves nothing; a thread's fd may not exist.
		denied := result == "permission denied" || strings.HasSuffix(result, ": permission denied") || strings.HasSuffix(result, "operation not permitted")
		if !tried || !denied {
			t.Errorf("%s: tried %v, got %q, want it refused", what, tried, result)
		}
	}
}

// Only the backend and its thread are confined, and the process is undumpable,
// which is what protects it from its own uid where Landlock is missing.
func TestSessionIsHardenedAndFree(t *testing.T) {
	forge := newForge(t)
	r := startAs(t, nobody, forge)
	r.want(control.TypeReady)
	dir := fmt.Sprintf("/proc/%d", r.cmd.Process.Pid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NoNewPrivs:\t0\n", "Seccomp:\t0\n"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("the confinement has spread to the whole of fjmcp-session: no %q", want)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(dir+"/environ", &st); err != nil || st.Uid != 0 {
		t.Errorf("the process is dumpable: its environ belongs to uid %d (%v)", st.Uid, err)
	}
}
