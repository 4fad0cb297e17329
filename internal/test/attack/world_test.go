package attack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/fjmcp/fjmcp-broker/internal/test/e2e"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
	"github.com/fjmcp/fjmcp-broker/internal/test/search"
)

// program is where the attackers' program stands in the container: where sessions look
// for forgejo-mcp.
const program = "/usr/bin/forgejo-mcp"

// mallory is the local user.
const mallory = "mallory"

// build returns this test as a program that runs in any container.
var build = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "attack.test")
	cmd := exec.Command("go", "test", "-c", "-trimpath", "-ldflags=-s -w", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build the attackers' program: %w\n%s", err, out)
	}
	return path, nil
})

// world is one installed system under attack.
type world struct {
	t     *testing.T
	s     *e2e.System
	suite string
	forge *forge

	alice, bob, reader *loginclient.Client // alice's child attacks, bob is another user, reader may only read
	limited            *loginclient.Client // whom a policy fences in; nil before, see fenced

	secrets []string          // tokens and keys
	facts   facts             // what attackers are told
	told    map[string]result // what came of attacks within the container, by attacker and name
}

func newWorld(t *testing.T, suite string) *world {
	backend, err := build()
	if err != nil {
		t.Fatal(err)
	}
	deb, err := e2e.Deb()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, suite: suite, forge: &forge{}, told: map[string]result{}}
	w.s, err = e2e.Install(t.Context(), e2e.Options{Suite: suite, Deb: deb, Backend: backend, Around: w.forge.around})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.s.Close(); err != nil {
			t.Error(err)
		}
	})
	if r := w.carryOut(attack{out: func(w *world) result { w.start(); return result{OK: true} }}); !r.OK {
		t.Fatal(r.Got)
	}
	return w
}

// start configures the broker, opens the sessions and lays out secrets to find.
func (w *world) start() {
	// One that does not stand in the attackers' program.
	secret, err := w.s.Forge.RotateSecret(e2e.ClientID)
	w.must(err)
	w.secrets = []string{secret}
	w.configure(nil)
	w.run("touch /etc/hosts; useradd --create-home " + mallory)
	w.alice, w.bob = w.connect("alice", ""), w.connect("bob", "")
	w.reader = w.connect("bob", "read")
	w.whoami(w.alice)
	w.layOut()
	w.lookAround()
}

// configure sets the broker up anew, with further settings.
func (w *world) configure(extra map[string]string) {
	settings := map[string]string{"FJMCP_BROKER_TRUSTED_PROXIES": "127.0.0.1/32"}
	for name, value := range extra {
		settings[name] = value
	}
	w.must(w.s.Configure(settings))
	w.must(w.s.SetClientSecret(w.secrets[0]))
	w.run("systemctl enable --now fjmcp-broker.socket; systemctl try-restart fjmcp-broker.service || true")
}

// connect logs in as a client that asks for read-only access where access is "read".
func (w *world) connect(user, access string) *loginclient.Client {
	b := w.s.Browser(user, nil)
	if access != "" {
		b.Choose = map[string]string{"access": access}
	}
	c, err := loginclient.Connect(w.t.Context(), loginclient.Config{
		MCPURL: e2e.PublicURL + "/mcp", Name: "attack as " + user, Transport: w.s.Transport(), Browser: b,
	})
	w.must(err)
	w.call(c, toolWhoami, nil) // its unit runs
	return c
}

// planted are files and their modes; what is in them no session and no broker may find,
// and no local user where the mode is closed.
var planted = map[string]os.FileMode{
	"/root/planted": 0o600, "/etc/fjmcp/credentials/planted": 0o600, "/var/lib/other/planted": 0o600, "/etc/planted": 0o600,
	"/var/lib/open/planted": 0o644, "/run/open/planted": 0o644, "/tmp/planted": 0o644, "/home/planted": 0o644,
}

// known is a secret that every attacker can find, which shows that the search works.
const known = "this stands in a file that everybody sees"

// layOut writes what is to be found, and composes each attacker's search.
func (w *world) layOut() {
	w.must(w.s.C.WriteFile("/usr/share/known", []byte(known), 0o644))
	closed, open := []string{}, []string{}
	for path, mode := range planted {
		secret := "planted-in-" + strings.ReplaceAll(path[1:], "/", "-") + "-5f0c1e"
		w.must(w.s.C.WriteFile(path, []byte(secret), mode))
		if mode&0o004 == 0 {
			closed = append(closed, secret)
		} else {
			open = append(open, secret)
		}
	}
	key, err := w.s.C.ReadFile("/etc/fjmcp/credentials/store-key")
	w.must(err)
	w.secrets = append(append(w.secrets, w.issued()...), string(key))
	for _, c := range []*loginclient.Client{w.alice, w.bob, w.reader} {
		w.secrets = append(w.secrets, w.bearer(c))
	}
	if len(w.secrets) < 8 {
		w.t.Fatalf("saw only %d secrets", len(w.secrets))
	}
	w.facts.Secrets = map[string][]string{
		"C": search.Complements(slices.Concat([]string{known}, w.secrets, closed, open)...),
		"L": search.Complements(slices.Concat([]string{known}, w.secrets, closed)...),
		"B": search.Complements(slices.Concat([]string{known}, closed, open)...),
	}
	w.facts.Planted = sorted(planted)
}

// sorted are the keys of a map, so that the table is the same each time.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// lookAround finds out what runs where.
func (w *world) lookAround() {
	pids := map[string]int{}
	for _, s := range w.sessions() {
		pid := w.pid(s.Unit)
		child, err := strconv.Atoi(strings.TrimSpace(w.run(fmt.Sprintf("cat /proc/%d/task/*/children", pid))))
		w.must(err)
		pids["session of "+s.User], pids["child of "+s.User] = pid, child
		if s.User == "alice" {
			w.facts.Mine = s.Unit
		} else {
			w.facts.Other = s.Unit
		}
	}
	for _, unit := range []string{"fjmcp-broker.service", "fjmcp-launcher.service", "fjmcp-egress.service"} {
		pids[unit] = w.pid(unit)
	}
	w.facts.Pids = pids
	if w.facts.Mine == "" || w.facts.Other == "" || len(pids) < 7 {
		w.t.Fatalf("cannot make out what runs: %+v", w.facts)
	}
}

// mine returns alice's unit of the moment.
func (w *world) mine() string {
	w.whoami(w.alice)
	unit := ""
	for _, s := range w.sessions() {
		if s.User == "alice" {
			unit = s.Unit // the last used comes last
		}
	}
	return unit
}

type session struct{ User, Unit string }

// sessions are those that run.
func (w *world) sessions() (all []session) {
	w.must(json.Unmarshal([]byte(w.run("fjmcpctl sessions list --json --state running")), &all))
	return all
}

func (w *world) pid(unit string) int {
	text, err := w.s.Property(w.t.Context(), unit, "MainPID")
	w.must(err)
	pid, err := strconv.Atoi(text)
	w.must(err)
	return pid
}

// untried is why an attack could not be carried out, which counts as its success.
type untried struct{ error }

// must ends the attack at hand, or the test before the first.
func (w *world) must(err error) {
	if err != nil {
		panic(untried{err})
	}
}

// carryOut tries one attack.
func (w *world) carryOut(a attack) (r result) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case untried:
			r = verdict(false, "cannot try: %v", p.error)
		default:
			panic(p)
		}
	}()
	if a.out != nil {
		return a.out(w)
	}
	if a.who == "C" {
		return w.asChild(a.name)
	}
	if _, tried := w.told[a.who+" "+a.name]; !tried {
		w.asOther(a.who)
	}
	if r, told := w.told[a.who+" "+a.name]; told {
		return r
	}
	return result{false, "cannot try: the attacker's program has ended before"}
}

// asChild has alice's child try an attack.
func (w *world) asChild(name string) (r result) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	text, err := callTool(ctx, w.alice, "attack", order{name, w.facts})
	if err != nil { // the child may not have survived it
		w.alice = w.connect("alice", "")
		w.lookAround()
	}
	w.must(err)
	w.must(json.Unmarshal([]byte(text), &r))
	return r
}

// asOther has the local user, or a program in the broker's place, try all its attacks.
func (w *world) asOther(who string) {
	var out string
	if who == "L" {
		in, err := json.Marshal(w.facts)
		w.must(err)
		r, err := w.s.C.Exec(w.t.Context(), nspawn.Cmd{Argv: []string{program, "attack", who}, User: mallory, Stdin: strings.NewReader(string(in))})
		w.must(err)
		out = r.Stdout
	} else {
		out = w.inBrokersPlace()
	}
	for line := range strings.Lines(out) {
		var t struct {
			Name string
			result
		}
		w.must(json.Unmarshal([]byte(line), &t))
		w.told[who+" "+t.Name] = t.result
	}
}

// run runs a script as root of the container, which must succeed.
func (w *world) run(script string) string {
	out, err := w.s.C.Shell(w.t.Context(), script)
	w.must(err)
	return out
}

// as runs a command as a user of the container.
func (w *world) as(user string, argv ...string) nspawn.Result {
	r, err := w.s.C.Exec(w.t.Context(), nspawn.Cmd{Argv: argv, User: user})
	w.must(err)
	return r
}

// issued are the tokens that the forge has given out so far.
func (w *world) issued() []string { return w.s.Forge.Issued() }

// everySecret are they, and what was secret from the start.
func (w *world) everySecret() []string { return append(w.issued(), w.secrets...) }

func (w *world) bearer(c *loginclient.Client) string {
	token, err := c.AccessToken(w.t.Context())
	w.must(err)
	return token
}

// call calls a tool of a child and returns its text.
func (w *world) call(c *loginclient.Client, tool string, args any) string {
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	text, err := callTool(ctx, c, tool, args)
	w.must(err)
	return text
}

func callTool(ctx context.Context, c *loginclient.Client, tool string, args any) (string, error) {
	r, err := c.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		return "", fmt.Errorf("%s: %w", tool, err)
	}
	if len(r.Content) == 0 {
		return "", errors.New(tool + " says nothing")
	}
	text, ok := r.Content[0].(*mcp.TextContent)
	switch {
	case !ok:
		return "", fmt.Errorf("%s: got %T", tool, r.Content[0])
	case r.IsError:
		return "", toolError(text.Text)
	}
	return text.Text, nil
}

// toolError is what a tool says when it fails, or the broker in its place when a request
// to the forge was refused.
type toolError string

func (e toolError) Error() string { return string(e) }

// whoami is a call that shows that the session of c does its work.
func (w *world) whoami(c *loginclient.Client) string { return w.call(c, toolWhoami, nil) }

// try is call for what may well fail, or never be answered.
func (w *world) try(c *loginclient.Client, tool string, args any) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	_, err := callTool(ctx, c, tool, args)
	return err
}

// works tells whether bob is served, in whatever state the attack has left the rest.
func (w *world) works() error {
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	text, err := callTool(ctx, w.bob, toolWhoami, nil)
	if err == nil && !strings.Contains(text, `"bob"`) {
		err = errors.New("bob is taken for " + text)
	}
	return err
}

// eventually polls for up to a minute.
func eventually(cond func() bool) bool {
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}
