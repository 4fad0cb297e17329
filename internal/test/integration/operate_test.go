package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

// said is what a command said, and how it ended.
type said struct {
	out, err string
	status   int
}

// ctl runs fjmcpctl.
func (w *world) ctl(args ...string) said {
	w.t.Helper()
	return ctl(w.t, filepath.Join(w.dir, "state", "admin.sock"), args...)
}

func ctl(t *testing.T, socket string, args ...string) said {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(filepath.Join(bin, "fjmcpctl"), append(args, "--socket", socket)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return said{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// list is what sessions list says of them.
func (w *world) list(args ...string) (all []admin.Session) {
	w.t.Helper()
	s := w.ctl(append([]string{"sessions", "list", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(s.out), &all); err != nil {
		w.t.Fatalf("%v: %+v", err, s)
	}
	return all
}

// held begins a call that the forge answers when its faults are cleared, and waits
// until it is known to be in flight. The channel gets what the client gets.
func (w *world) held(token, session string) <-chan response {
	w.t.Helper()
	if err := w.forge.Inject(fakeforge.Fault{Path: fakeforge.APIPath + "user/repos", Kind: "hold"}); err != nil {
		w.t.Fatal(err)
	}
	answered := make(chan response, 1)
	go func() {
		answered <- w.post(token, session, `{"jsonrpc":"2.0","id":"held","method":"tools/call","params":{"name":"list_my_repos","arguments":{},"_meta":{"note":"secret"}}}`)
	}()
	w.until("a call is in flight", func() bool { return strings.Contains(w.ctl("sessions", "list", "--json").out, `"in_flight":1`) })
	return answered
}

// until waits for a condition.
func (w *world) until(what string, is func() bool) {
	w.t.Helper()
	for giveUp := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(giveUp) {
			w.t.Fatalf("it never came to be that %s", what)
		}
	}
}

// processes counts the children of the broker.
func (w *world) processes() (n int) {
	w.t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil || len(all) == 0 {
		w.t.Fatalf("cannot read /proc: %v", err)
	}
	child := fmt.Sprintf("\nPPid:\t%d\n", w.broker.Pid())
	for _, path := range all {
		if b, err := os.ReadFile(path); err == nil && strings.Contains(string(b), child) {
			n++
		}
	}
	return n
}

// An operator sees what a session does, and ends it: its client is told, its
// processes are gone, others go on, and the journal says who did it.
func TestOperatorStopsSessions(t *testing.T) {
	w := start(t, "standin")
	alice, bob := w.mustConnect("alice"), w.mustConnect("bob")
	again, err := alice.Again(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.mustCall(bob, "get_my_user_info", nil, "bob")
	token := w.token(alice)
	answered := w.held(token, alice.ID())

	var busy string
	for _, s := range w.list("--user", "alice", "--state", "running") {
		if s.InFlight > 0 {
			busy = s.ID
		}
	}
	s := w.ctl("sessions", "show", busy[:8])
	for _, want := range []string{busy, "alice", "tools/call list_my_repos", "reads and writes", "FJMCP_SESSION=" + busy} {
		if !strings.Contains(s.out, want) {
			t.Errorf("show does not tell %q:\n%s", want, s.out)
		}
	}
	if s.status != 0 || strings.Contains(s.out, "secret") || strings.Contains(s.out, alice.ID()) {
		t.Errorf("show: %+v", s)
	}

	if s := w.ctl("sessions", "stop", "--user", "alice"); s.status != 1 || len(w.list()) != 3 {
		t.Errorf("two were stopped without a word: %+v", s)
	}
	if s := w.ctl("sessions", "stop", "--user", "alice", "--yes"); s.status != 0 || strings.Count(s.out, "stopped  ") != 2 {
		t.Errorf("stop: %+v", s)
	}
	for _, id := range []string{alice.ID(), again.ID()} {
		if r := w.post(token, id, `{"jsonrpc":"2.0","id":1,"method":"ping"}`); r.status != 404 {
			t.Errorf("a stopped session gave %d %s", r.status, r.body)
		}
	}
	if r := <-answered; !strings.Contains(r.body, `"error"`) {
		t.Errorf("the call in flight got %d %s", r.status, r.body)
	}
	w.forge.ClearFaults()
	w.mustCall(bob, "get_my_user_info", nil, "bob")
	w.until("one process is left", func() bool { return w.processes() == 1 })
	if left := w.list(); len(left) != 1 || left[0].User != "bob" {
		t.Errorf("left: %+v", left)
	}
	w.waitLog("FJMCP_OUTCOME=operator FJMCP_OPERATOR="+operator(t), 2)
	if s := w.ctl("sessions", "show", busy); s.status != 1 || !strings.Contains(s.err, "there is no session") {
		t.Errorf("a stopped session is shown: %+v", s)
	}
}

// operator is what the audit calls the user of this test.
func operator(t *testing.T) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return `"` + u.Username + " (uid " + u.Uid + `)"`
}

// A dormant session is stopped like a running one, by what the client calls itself.
func TestOperatorStopsADormantSession(t *testing.T) {
	w := start(t, "standin")
	c := w.mustConnect("alice")
	token, id := w.token(c), c.ID()
	w.broker.Stop(syscall.SIGTERM)
	if err := w.broker.Restart(t.Context(), w.program()); err != nil {
		t.Fatal(err)
	}
	all := w.list("--state", "dormant")
	if len(all) != 1 {
		t.Fatalf("sessions: %+v", all)
	}
	if s := w.ctl("sessions", "stop", "--client", strings.ToUpper(all[0].Client)); s.status != 0 || !strings.Contains(s.out, all[0].ID) {
		t.Errorf("stop: %+v", s)
	}
	if r := w.post(token, id, `{"jsonrpc":"2.0","id":1,"method":"ping"}`); r.status != 404 {
		t.Errorf("it gave %d %s", r.status, r.body)
	}
}

// In a drain nothing new begins, clients are told to come back, and what is in
// flight is answered and waited for.
func TestDrain(t *testing.T) {
	w := start(t, "standin")
	c, other := w.mustConnect("alice"), w.mustConnect("bob")
	token := w.token(c)
	answered := w.held(token, c.ID())

	s := w.ctl("drain", "--timeout", "0s")
	if s.status != 1 || !strings.Contains(s.out, "tools/call list_my_repos") || !strings.Contains(s.err, "1 call is still in flight") {
		t.Errorf("drain: %+v", s)
	}
	ping := `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_my_user_info","arguments":{}}}`
	for what, r := range map[string]response{
		"a call of a running session": w.post(w.token(other), other.ID(), ping),
		"a new session":               w.post(token, "", strings.Replace(initialize, `"id":0`, `"id":7`, 1)),
	} {
		if r.status != 503 || r.header.Get("Retry-After") == "" || !strings.HasPrefix(r.body, `{"jsonrpc":"2.0","id":7,"error":`) || !strings.Contains(r.body, "under maintenance") {
			t.Errorf("%s got %d %v %s", what, r.status, r.header, r.body)
		}
	}
	if s := w.ctl("status"); s.status != 1 || !strings.Contains(s.out, "draining") || !strings.Contains(s.out, "1 call\n") {
		t.Errorf("status: %+v", s)
	}

	drained := make(chan said, 1)
	go func() { drained <- w.ctl("drain", "--timeout", "10m") }()
	w.forge.ClearFaults()
	if r := <-answered; r.status != 200 || !strings.Contains(r.body, "alice/") {
		t.Errorf("the call in flight got %d %s", r.status, r.body)
	}
	if s := <-drained; s.status != 0 || !strings.Contains(s.out, "Drained") {
		t.Errorf("drain: %+v", s)
	}

	if s := w.ctl("drain", "--resume"); s.status != 0 {
		t.Errorf("resume: %+v", s)
	}
	w.mustCall(c, "get_my_user_info", nil, "alice")
	w.waitLog("FJMCP_EVENT=drained FJMCP_OUTCOME=ok FJMCP_OPERATOR="+operator(t), 1)
	w.waitLog("FJMCP_EVENT=undrained FJMCP_OUTCOME=ok FJMCP_OPERATOR="+operator(t), 1)
}

// A call that waits for its client's input goes on in a drain, and is waited for; a
// call without a session is turned away like any other.
func TestDrainLetsAnswersPass(t *testing.T) {
	w := start(t, "held")
	token := w.token(w.mustConnect("alice"))
	key, state := w.mustAsk(token, asking)
	if s := w.ctl("drain", "--timeout", "0s"); s.status != 1 || !strings.Contains(s.out, "tools/call test_input_required_result_") {
		t.Errorf("drain: %+v", s)
	}
	if r := w.modern(token, asking); r.status != 503 || r.header.Get("Retry-After") == "" || !strings.Contains(r.body, "under maintenance") {
		t.Errorf("another call got %d %s", r.status, r.body)
	}
	if r := w.modern(token, answered(asking, "2", key, "carol", state)); r.status != 200 || !strings.Contains(r.body, "carol") {
		t.Errorf("the answer got %d %s", r.status, r.body)
	}
	if s := w.ctl("drain", "--timeout", "10m"); s.status != 0 {
		t.Errorf("drain: %+v", s)
	}
}

// A restart ends a drain, also while fjmcpctl waits for calls.
func TestRestartEndsADrain(t *testing.T) {
	w := start(t, "standin")
	c := w.mustConnect("alice")
	answered := w.held(w.token(c), c.ID())
	drained := make(chan said, 1)
	go func() { drained <- w.ctl("drain", "--timeout", "10m") }()
	w.waitLog("FJMCP_EVENT=drained", 1)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		w.broker.Stop(syscall.SIGTERM)
	}()
	if s := <-drained; s.status != 1 {
		t.Errorf("drain: %+v", s)
	}
	w.forge.ClearFaults()
	<-answered
	<-stopped
	if err := w.broker.Restart(t.Context(), w.program()); err != nil {
		t.Fatal(err)
	}
	w.mustCall(c, "get_my_user_info", nil, "alice")
	if s := w.ctl("status"); s.status != 0 {
		t.Errorf("status: %+v", s)
	}
}

func TestStatus(t *testing.T) {
	w := start(t, "standin")
	w.mustConnect("alice")
	look := func() (s admin.Status, status int) {
		t.Helper()
		run := w.ctl("status", "--json")
		if err := json.Unmarshal([]byte(run.out), &s); err != nil {
			t.Fatalf("%v: %+v", err, run)
		}
		return s, run.status
	}
	s, status := look()
	if status != 0 || s.Health != admin.Healthy || s.Forgejo.Version == "" || s.Sessions.Running != 1 || s.Sessions.Max != 200 || s.Sessions.PerUser != 8 ||
		s.Store.Users != 1 || s.Store.Clients != 1 || s.Store.Logins != 1 || s.Store.Sealed == 0 || s.Store.Bytes == 0 || s.Store.Unreadable != 0 ||
		s.Store.Path != filepath.Join(w.dir, "state", "fjmcp.db") || s.PublicURL != w.broker.URL || s.Launcher.Kind != "process" {
		t.Errorf("exit status %d: %+v", status, s)
	}
	w.forge.Stop()
	if s, status := look(); status != 1 || s.Health != admin.Degraded || s.Forgejo.Problem == "" || s.Store.Problem+s.Launcher.Problem != "" {
		t.Errorf("without a forge: exit status %d: %+v", status, s)
	}
	if err := w.forge.Resume(); err != nil {
		t.Fatal(err)
	}
	w = w.withBackend(t, "/nonexistent/forgejo-mcp")
	if s, status := look(); status != 1 || !strings.Contains(s.Launcher.Problem, "/nonexistent/forgejo-mcp") || s.Forgejo.Problem != "" {
		t.Errorf("without a backend: exit status %d: %+v", status, s)
	}
	w.broker.Stop(syscall.SIGTERM)
	if s := w.ctl("status"); s.status != 3 || !strings.Contains(s.err, "the broker does not run") {
		t.Errorf("without a broker: %+v", s)
	}
}

// A broker that systemd starts for fjmcpctl, and that cannot, says so instead of
// being started again and again.
func TestStatusOfABrokerThatCannotStart(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	broker := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, filepath.Join(bin, "fjmcp-broker"))
	broker.Env = []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=admin", "FJMCP_BROKER_PUBLIC_URL=nonsense"}
	broker.ExtraFiles = []*os.File{f}
	if err := broker.Start(); err != nil {
		t.Fatal(err)
	}
	s := ctl(t, socket, "status")
	_ = broker.Wait()
	if s.status != 3 || !strings.Contains(s.err, "its configuration is at fault") || !strings.Contains(s.err, "FJMCP_BROKER_FORGEJO_URL is missing") {
		t.Errorf("status: %+v", s)
	}
	if code := broker.ProcessState.ExitCode(); code != 78 {
		t.Errorf("the broker ended with %d", code)
	}
}

// A user is who the forge's number says. One who was renamed there goes on under the new
// name, also in what runs, and whoever takes the old name is another.
func TestRenamedUser(t *testing.T) {
	w := start(t, "standin")
	alice := w.mustConnect("alice")
	token := w.token(alice)
	session := w.begin(token)
	w.must(w.forge.Rename("alice", "dora"))
	w.must(w.forge.Rename("bob", "alice"))
	b := loginclient.NewBrowser(w.transport, "alice", "bob-password")
	other, err := loginclient.Connect(t.Context(), loginclient.Config{MCPURL: w.url + "/mcp", Transport: w.transport, Browser: b})
	w.must(err)
	t.Cleanup(func() { other.Close() })
	users := func(args ...string) string {
		names := map[string]bool{}
		for _, s := range w.list(args...) {
			names[s.User+" "+s.UserID] = true
		}
		return strings.Join(slices.Sorted(maps.Keys(names)), ", ")
	}
	// The forge has not told the new name yet, but that the old one is another's.
	bob := w.query("SELECT subject FROM users WHERE name = 'alice'")
	for args, want := range map[string]string{"--user alice": "alice " + bob, "--user id:1": " 1", "--user id:" + bob: "alice " + bob, "": " 1, alice " + bob} {
		if got := users(strings.Fields(args)...); got != want {
			t.Errorf("sessions list %s shows %q, want %q", args, got, want)
		}
	}
	w.forge.ExpireAccessTokens()
	w.mustCall(alice, "get_my_user_info", nil, "dora") // and a refresh, after which the forge tells
	w.until("the new name is known", func() bool { return users("--user", "dora") == "dora 1" })
	w.waitLog("FJMCP_EVENT=tool_call", 1)
	if r := w.do("DELETE", token, session, ""); r.status >= 300 { // began under the old name
		t.Fatalf("%d %s", r.status, r.body)
	}
	w.waitLog("FJMCP_EVENT=session_stopped FJMCP_USER=dora", 1)
	if got := w.ctl("sessions", "stop", "--user", "alice", "--yes"); got.status != 0 {
		t.Errorf("%+v", got)
	}
	if got := users(); got != "dora 1" {
		t.Errorf("left are %q", got)
	}
}
