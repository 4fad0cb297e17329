package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/sandbox/confine"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/localbroker"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
	"github.com/fjmcp/fjmcp-broker/internal/test/programs"
	"github.com/fjmcp/fjmcp-broker/internal/test/testlog"
)

// backend is one session's forgejo-mcp and the fjmcp-session that started it.
type backend struct {
	client       *loginclient.Client
	pid, session int
	proxy        *url.URL
}

func (w *world) backendOf(user string) backend {
	w.t.Helper()
	c := w.mustConnect(user)
	text, err := call(w.t.Context(), c, "probe", nil)
	w.must(err)
	var report struct {
		PID, PPID int
		Environ   []string
	}
	w.must(json.Unmarshal([]byte(text), &report))
	b := backend{client: c, pid: report.PID, session: report.PPID}
	for _, kv := range report.Environ {
		if value, ok := strings.CutPrefix(kv, "HTTP_PROXY="); ok {
			b.proxy, err = url.Parse(value)
			w.must(err)
		}
	}
	return b
}

func port(t *testing.T, of *url.URL) int {
	t.Helper()
	n, err := strconv.Atoi(of.Port())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Under the process launcher all sessions have the uid and the network of the broker. What
// a backend must still not get at: processes, ports and files of others.
func TestProcessLauncherHolds(t *testing.T) {
	if !confine.Landlock() {
		t.Skip("SKIP: this kernel offers no Landlock, without which files are open")
	}
	w := start(t, "standin")
	alice, bob := w.backendOf("alice"), w.backendOf("bob")
	forge, err := url.Parse(w.forge.URL)
	w.must(err)
	broker, err := url.Parse(w.broker.URL)
	w.must(err)
	ports := []int{port(t, bob.proxy), port(t, forge), port(t, broker)}
	files := []string{w.dir, filepath.Join(w.dir, "store-key"), filepath.Join(w.dir, "forgejo-client-secret")}
	state, err := filepath.Glob(filepath.Join(w.dir, "state", "*"))
	if err != nil || len(state) < 2 {
		t.Fatalf("the broker's state is %q, %v", state, err)
	}
	text, err := call(t.Context(), alice.client, "trespass", map[string]any{
		"pids": []int{w.broker.Pid(), alice.session, bob.session, bob.pid, 1}, "ports": ports, "files": append(files, state...),
	})
	w.must(err)
	var tried map[string]string
	w.must(json.Unmarshal([]byte(text), &tried))
	if len(tried) < 100 {
		t.Errorf("only %d attempts", len(tried))
	}
	anyPort := strings.Contains(w.log.String(), "older than ABI 4") // of the kernel's, told as it has to be
	for what, result := range tried {
		if anyPort && strings.HasPrefix(what, "connect ") {
			continue
		}
		if !strings.HasSuffix(result, "permission denied") && !strings.HasSuffix(result, "not permitted") && !strings.HasSuffix(result, "cross-device link") {
			t.Errorf("%s: %q", what, result)
		}
	}
	w.mustCall(bob.client, "get_my_user_info", nil, `"bob"`)
}

// What it does not hold: /proc tells of the others, and names, sizes and times of files
// can be asked for.
func TestProcessLauncherLacks(t *testing.T) {
	w := start(t, "standin")
	alice, bob := w.backendOf("alice"), w.backendOf("bob")
	shown := []string{fmt.Sprintf("/proc/%d/cmdline", w.broker.Pid()), fmt.Sprintf("/proc/%d/status", bob.session), fmt.Sprintf("/proc/%d/cmdline", bob.pid), "/proc/net/tcp"}
	text, err := call(t.Context(), alice.client, "probe", map[string]any{"paths": shown})
	w.must(err)
	var report struct{ Content map[string]string }
	w.must(json.Unmarshal([]byte(text), &report))
	for _, path := range shown {
		if report.Content[path] == "" {
			t.Errorf("%s is hidden: tell so in the documentation", path)
		}
	}
	if strings.Contains(text, bob.proxy.User.String()) {
		t.Error("the password of another session's proxy is shown")
	}
}

// A local user who finds the port of a session's proxy does not become its user.
func TestProxyPortIsOfNoUse(t *testing.T) {
	w := start(t, "standin")
	alice := w.backendOf("alice")
	open := *alice.proxy
	open.User = nil
	for proxy, want := range map[*url.URL]int{&open: http.StatusProxyAuthRequired, alice.proxy: http.StatusOK} {
		transport := &http.Transport{Proxy: http.ProxyURL(proxy), DisableKeepAlives: true}
		resp, err := (&http.Client{Transport: transport}).Get(w.forge.URL + "/api/v1/user")
		w.must(err)
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("with %q: %s, want %d", proxy.User, resp.Status, want)
		}
	}
}

// What a backend has started ends with its session, and with a broker that is killed.
func TestProcessLauncherLeavesNothing(t *testing.T) {
	for name, end := range map[string]func(*world, backend){
		"session ends":     func(w *world, b backend) { w.do("DELETE", w.token(b.client), b.client.ID(), "") },
		"broker is killed": func(w *world, _ backend) { w.broker.Stop(syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, "standin")
			alice := w.backendOf("alice")
			text, err := call(t.Context(), alice.client, "spawn", nil)
			w.must(err)
			pid, err := strconv.Atoi(text)
			w.must(err)
			t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
			end(w, alice)
			for giveUp := time.Now().Add(time.Minute); syscall.Kill(pid, 0) == nil && !zombie(pid); time.Sleep(20 * time.Millisecond) {
				if time.Now().After(giveUp) {
					t.Fatal("it continues")
				}
			}
		})
	}
}

// zombie: it has ended, and whoever adopted it has not asked how.
func zombie(pid int) bool {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return strings.Contains(string(stat), ") Z ")
}

// Where no unit bounds them, processes have the unit's limits that are for each of them.
func TestProcessLauncherLimits(t *testing.T) {
	w := start(t, "standin")
	alice := w.backendOf("alice")
	for _, pid := range []int{alice.session, alice.pid} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
		w.must(err)
		for name, want := range map[string]string{"Max data size": "1073741824", "Max open files": "1024", "Max core file size": "0"} {
			_, after, _ := strings.Cut(string(text), name)
			if fields := strings.Fields(after); len(fields) < 2 || !slices.Equal(fields[:2], []string{want, want}) {
				t.Errorf("%s of process %d: %.40q", name, pid, after)
			}
		}
	}
}

// A broker that cannot start, and was started by hand, sends nobody to a journal.
func TestWhereABrokerStartedByHandSaysWhy(t *testing.T) {
	w := start(t, "standin")
	w.broker.Stop(syscall.SIGTERM)
	w.must(os.WriteFile(filepath.Join(w.dir, "state", "fjmcp.db"), []byte("this is no database"), 0o600))
	w.must(w.broker.Restart(t.Context(), w.program()))
	r := w.post("", "", "{}")
	if r.status != 503 || !strings.Contains(r.body, "cannot start") || !strings.Contains(r.body, "the broker's standard error") || strings.Contains(r.body, "journalctl") {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// README's way without systemd, command by command, ends with a doctor who finds nothing
// wrong.
func TestStartedByHandAsREADMESays(t *testing.T) {
	page, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n### Without systemd\n")
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := strings.Split(section, "\n```sh\n")
	if len(blocks) != 3 {
		t.Fatalf("README has %d blocks of commands", len(blocks)-1)
	}
	forge, err := localbroker.StartForge("0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(forge.Stop)
	address, err := localbroker.FreeAddress("0")
	if err != nil {
		t.Fatal(err)
	}
	app, err := forge.Register(fakeforge.App{Name: "fjmcp", RedirectURIs: []string{"http://" + address + "/oauth/callback"}})
	if err != nil {
		t.Fatal(err)
	}
	here := strings.NewReplacer("https://mcp.example.org", "http://"+address, "https://git.example.org", forge.URL, "01234567-89ab-cdef-0123-456789abcdef", app.ClientID)
	dir := t.TempDir()
	if err := os.Symlink(bin, filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	var log testlog.Buffer
	sh := func(script string) *exec.Cmd {
		cmd := exec.Command("/bin/sh", "-ec", here.Replace(script))
		cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, strings.NewReader(app.ClientSecret+"\n"), &log, &log
		cmd.Env = append(os.Environ(), "FJMCP_BROKER_LISTEN="+address, "FJMCP_BROKER_FORGEJO_MCP="+filepath.Join(bin, programs.Standin), "FJMCP_BROKER_CLIENT_METADATA_DOCUMENTS=off")
		return cmd
	}
	first, _, _ := strings.Cut(blocks[1], "```")
	last := strings.LastIndex(strings.TrimSpace(first), "\n")
	begin := sh(first[:last+1] + "exec " + first[last+1:]) // so that its end is the broker's
	ended, err := localbroker.Spawn(begin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = begin.Process.Signal(syscall.SIGTERM)
		<-ended
	})
	if err := localbroker.Await(t.Context(), ended, http.DefaultClient, "http://"+address+"/livez"); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	var same strings.Builder
	for line := range strings.Lines(first) {
		if strings.HasPrefix(line, "export ") {
			same.WriteString(line)
		}
	}
	second, _, _ := strings.Cut(blocks[2], "```")
	if err := sh(same.String() + second).Run(); err != nil || !strings.Contains(log.String(), "\nwell: ") {
		t.Errorf("the doctor: %v\n%s", err, &log)
	}
}
