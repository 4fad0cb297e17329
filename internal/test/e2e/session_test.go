package e2e

import (
	"bytes"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
)

// TestE2E goes the whole way in the installed system, and then looks around.
func TestE2E(t *testing.T) { wholeWay(t, standin(t)) }

// TestE2ERealForgejoMCP is TestE2E with the real backend.
func TestE2ERealForgejoMCP(t *testing.T) {
	path := os.Getenv("FJMCP_TEST_FORGEJO_MCP")
	if path == "" {
		t.Skip("set FJMCP_TEST_FORGEJO_MCP to a forgejo-mcp binary")
	}
	wholeWay(t, path)
}

func wholeWay(t *testing.T, backend string) {
	s := install(t, backend)
	must(t, s.Configure(nil))
	if out := active(t, s); len(out) > 0 {
		t.Errorf("running before anything is enabled: %v", out)
	}
	must(t, s.Enable(t.Context()))
	for _, unit := range active(t, s) {
		if !strings.HasSuffix(unit, ".socket") {
			t.Errorf("running before the first request: %s", unit)
		}
	}

	alice := connect(t, s, "alice")
	useTools(t, alice, "alice")
	first := units(t, s)
	if len(first) != 1 {
		t.Fatalf("want one unit, got %+v", first)
	}
	useTools(t, alice, "alice")
	if again := units(t, s); !slices.Equal(first, again) {
		t.Errorf("the session was not reused: %+v, then %+v", first, again)
	}

	bob := connect(t, s, "bob")
	useTools(t, bob, "bob")
	second, err := alice.Again(t.Context())
	must(t, err)
	useTools(t, second, "alice")

	t.Run("units", func(t *testing.T) { checkUnits(t, s) })
	t.Run("secrets", func(t *testing.T) { checkSecrets(t, s, alice, bob) })
	t.Run("audit", func(t *testing.T) { checkAudit(t, s, first[0]) })
	t.Run("operator", func(t *testing.T) { checkOperator(t, s) })
	t.Run("delete", func(t *testing.T) { checkDelete(t, s, bob) })
	if log := journal(s, "--namespace=fjmcp"); strings.Contains(log, " ERROR ") || strings.Contains(log, "goroutine ") {
		t.Errorf("the end of a session looks like a fault:\n%s", log)
	}
}

// useTools lists tools and calls one as the user.
func useTools(t *testing.T, c *loginclient.Client, user string) {
	t.Helper()
	list, err := c.ListTools(t.Context(), nil)
	must(t, err)
	if !slices.ContainsFunc(list.Tools, func(tool *mcp.Tool) bool { return tool.Name == "get_my_user_info" }) {
		t.Errorf("no get_my_user_info among %d tools", len(list.Tools))
	}
	if text := call(t, c, "get_my_user_info", nil); !strings.Contains(text, user) {
		t.Errorf("get_my_user_info of %s says %s", user, text)
	}
}

// checkUnits wants three sessions in three units under three uids, each in the
// sandbox, in the slice, with a running timer.
func checkUnits(t *testing.T, s *System) {
	all := units(t, s)
	if len(all) != 3 {
		t.Fatalf("want three units, got %+v", all)
	}
	uids := map[string]bool{"0": true}
	for _, u := range all {
		if uids[u.UID] {
			t.Errorf("%s runs under uid %s, as another or root", u.Name, u.UID)
		}
		uids[u.UID] = true
		for name, want := range map[string]string{
			"DropInPaths": "fjmcp-session@.service.d/10-sandbox.conf",
			"Slice":       "fjmcp-sessions.slice", "Transient": "yes",
			"PrivateNetwork": "yes", "NoNewPrivileges": "yes", "RootDirectory": "/var/lib/fjmcp-session-root",
			"CapabilityBoundingSet": "",
		} {
			got, err := s.Property(t.Context(), u.Name, name)
			if err != nil || !strings.Contains(got, want) || (want == "") != (got == "") {
				t.Errorf("%s has %s=%q, %v; want %q", u.Name, name, got, err, want)
			}
		}
		timer := strings.NewReplacer("fjmcp-session@", "fjmcp-reap@", ".service", ".timer").Replace(u.Name)
		if state, err := s.Property(t.Context(), timer, "ActiveState"); err != nil || state != "active" {
			t.Errorf("%s is %q, %v", timer, state, err)
		}
	}
	// 6 means an exposure of 0.6 of 10.
	run(t, s, "systemd-analyze", "security", "--threshold=6", "--no-pager", all[0].Name)
}

// checkSecrets looks for every token where other users or a thief of a backup
// could find it. Each place must also show something that is known to be there,
// or the search would prove nothing.
func checkSecrets(t *testing.T, s *System, clients ...*loginclient.Client) {
	secrets := s.Secrets()
	if len(secrets) < 5 { // two users' pairs and the client secret
		t.Fatalf("saw only %d secrets issued", len(secrets))
	}
	for _, c := range clients {
		token, err := c.AccessToken(t.Context())
		must(t, err)
		secrets = append(secrets, token)
	}
	for _, place := range []struct{ name, script, known string }{
		{"environments", "cat /proc/[0-9]*/environ 2>/dev/null || true", "FJMCP_SESSION_FORGEJO_URL="},
		{"command lines", "cat /proc/[0-9]*/cmdline 2>/dev/null || true", "/usr/bin/forgejo-mcp"},
		{"unit properties", "systemctl show '*'", "fjmcp-session@"},
		{"configuration", "cat /etc/fjmcp/broker.env", "FJMCP_BROKER_PUBLIC_URL"},
		{"database", "cat /var/lib/fjmcp/*", "e2e of alice"},
		{"journal", "journalctl --namespace=+fjmcp --all --output=export --no-pager", "FJMCP_EVENT="},
	} {
		text, err := s.C.Shell(t.Context(), place.script)
		must(t, err)
		if !strings.Contains(text, place.known) {
			t.Errorf("%s: %q is not there either, %d bytes", place.name, place.known, len(text))
		}
		for i, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("secret %d is in the %s", i, place.name)
			}
		}
	}
	if out := run(t, s, "stat", "-c", "%a %U", "/var/lib/fjmcp", "/var/lib/fjmcp/fjmcp.db"); out != "700 fjmcp\n600 fjmcp\n" {
		t.Errorf("state directory and database have %q", out)
	}
}

// checkAudit asks the journal who did what, as an operator would.
func checkAudit(t *testing.T, s *System, unit Unit) {
	for _, match := range [][]string{
		{"FJMCP_EVENT=client_registered"},
		{"FJMCP_EVENT=login", "FJMCP_USER=alice"},
		{"FJMCP_EVENT=token_issued", "FJMCP_USER=bob"},
		{"FJMCP_EVENT=session_started", "FJMCP_USER=bob"},
		{"FJMCP_EVENT=tool_call", "FJMCP_USER=alice", "FJMCP_TOOL=get_my_user_info"},
	} {
		found, err := s.C.Journal(t.Context(), append(match, "_SYSTEMD_UNIT=fjmcp-broker.service")...)
		if err != nil || len(found) == 0 {
			t.Errorf("no entry with %v, %v", match, err)
		}
	}
	// From the unit to its session's lines, from there to the user and all that was done.
	child, err := s.C.Journal(t.Context(), "--namespace=+fjmcp", "_SYSTEMD_UNIT="+unit.Name)
	if err != nil || len(child) == 0 {
		t.Fatalf("nothing from %s, %v", unit.Name, err)
	}
	last := child[len(child)-1]
	if last["FJMCP_USER"] != "" || last["FJMCP_SESSION"] == "" || last["_SYSTEMD_SLICE"] != "fjmcp-sessions.slice" {
		t.Errorf("the session's own line carries %v", last)
	}
	whole := ownEntries(last["FJMCP_SESSION"])
	found, err := s.C.Journal(t.Context(), append(whole, "--namespace=+fjmcp")...)
	must(t, err)
	events := map[string]int{}
	for _, e := range found {
		events[e["FJMCP_EVENT"]+" "+e["FJMCP_USER"]]++
	}
	if events["session_started alice"] != 1 || events["tool_call alice"] != 2 || events[" "] < len(child) {
		t.Errorf("the session's entries are %v", events)
	}
	if here, err := s.C.Journal(t.Context(), "_SYSTEMD_UNIT="+unit.Name); err != nil || len(here) > 0 {
		t.Errorf("the main journal has %d lines of the session, %v", len(here), err)
	}
}

// ownEntries matches what a session wrote, and what the broker says of it, as README has
// it. An entry of a local program with the same field is not among it.
func ownEntries(session string) []string {
	return []string{"FJMCP_SESSION=" + session, "_SYSTEMD_SLICE=fjmcp-sessions.slice", "+",
		"FJMCP_SESSION=" + session, "_SYSTEMD_UNIT=fjmcp-broker.service"}
}

func checkOperator(t *testing.T, s *System) {
	out := run(t, s, "fjmcpctl", "sessions", "list")
	if strings.Count(out, "alice") != 4 || strings.Count(out, "bob") != 2 { // user and client's name
		t.Errorf("fjmcpctl sessions list says\n%s", out)
	}
	if r, err := s.C.Exec(t.Context(), nspawn.Cmd{Argv: []string{"fjmcpctl", "sessions", "list"}, User: "nobody"}); err != nil || r.Code != 1 {
		t.Errorf("nobody may list sessions: %+v, %v", r, err)
	}
	for _, program := range []string{"/usr/sbin/fjmcp-broker", "/usr/bin/fjmcpctl", "/usr/libexec/fjmcp/fjmcp-launcher", "/usr/libexec/fjmcp/fjmcp-session"} {
		if out := run(t, s, program, "--version"); !strings.Contains(out, " (") || strings.Contains(out, "dev") {
			t.Errorf("%s --version says %q", program, out)
		}
	}
	health := run(t, s, "curl", "-sS", PublicURL+"/healthz")
	if !strings.Contains(health, `"status":"ok"`) || !strings.Contains(health, `"launcher":"ok"`) {
		t.Errorf("healthz says %s", health)
	}
	run(t, s, "sh", "-c", "systemd-analyze verify /lib/systemd/system/fjmcp-*.service /lib/systemd/system/fjmcp-*.socket 2>&1 | tee /dev/stderr | (! grep .)")
	if out := run(t, s, "curl", "-sS", "--unix-socket", "/run/fjmcp/http.sock", "http://broker/.well-known/oauth-authorization-server"); !strings.Contains(out, PublicURL) {
		t.Errorf("over the unix socket: %s", out)
	}
}

// checkDelete ends a session, whose unit goes, and whose id is dead.
func checkDelete(t *testing.T, s *System, c *loginclient.Client) {
	id, before := c.ID(), len(units(t, s))
	token, err := c.AccessToken(t.Context())
	must(t, err)
	must(t, c.Close())
	await(t, "the unit ends", func() bool { return len(units(t, s)) == before-1 })
	if status := post(t, s, token, id); status != http.StatusNotFound {
		t.Errorf("a deleted session answers %d", status)
	}
	if status := post(t, s, "", id); status != http.StatusUnauthorized {
		t.Errorf("without a token: %d", status)
	}
}

// post sends a ping in a session and returns the status.
func post(t *testing.T, s *System, token, session string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, PublicURL+"/mcp",
		bytes.NewReader([]byte(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)))
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Mcp-Session-Id", session)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := s.HTTP().Do(req)
	must(t, err)
	resp.Body.Close()
	return resp.StatusCode
}

// A session of one user is closed to another, even with its id.
func TestE2EForeignSession(t *testing.T) {
	s := enabled(t, standin(t), nil)
	alice, bob := connect(t, s, "alice"), connect(t, s, "bob")
	token, err := bob.AccessToken(t.Context())
	must(t, err)
	if status := post(t, s, token, alice.ID()); status != http.StatusNotFound {
		t.Errorf("bob in alice's session: %d", status)
	}
	useTools(t, alice, "alice")
}

// When a session is idle its unit ends, by the service manager's own timer; the
// next request starts another one, and the client notices nothing.
func TestE2EReap(t *testing.T) {
	s := enabled(t, standin(t), map[string]string{"FJMCP_BROKER_SESSION_IDLE_TIMEOUT": "2s"})
	c := connect(t, s, "alice")
	useTools(t, c, "alice")
	await(t, "the idle unit ends", func() bool { return len(units(t, s)) == 0 })
	await(t, "its backend was told so by the end of its input", func() bool {
		return strings.Contains(journal(s, "--namespace=fjmcp"), "its input has ended")
	})
	before := started(t, s)
	useTools(t, c, "alice")
	if after := started(t, s); len(before) == 0 || len(after) <= len(before) {
		t.Errorf("units %v, and after another call %v", before, after)
	}
	// A call that takes longer than the idle time keeps its session.
	if text := call(t, c, "slow", map[string]any{"ms": 6000}); !strings.Contains(text, "waited") {
		t.Errorf("got %q", text)
	}
	// A broker that hangs cannot keep it either. (Were it killed, the session
	// would see the end of its input.)
	run(t, s, "systemctl", "kill", "--kill-who=main", "--signal=STOP", "fjmcp-broker.service")
	await(t, "the unit ends while the broker stands still", func() bool { return len(units(t, s)) == 0 })
}

// started lists the session units that systemd has started so far. (On a slow
// machine a unit may be reaped before it could be listed.)
func started(t *testing.T, s *System) []string {
	t.Helper()
	done, err := s.C.Journal(t.Context(), "JOB_TYPE=start", "JOB_RESULT=done")
	must(t, err)
	var names []string
	for _, e := range done {
		if strings.HasPrefix(e["UNIT"], "fjmcp-session@") && !slices.Contains(names, e["UNIT"]) {
			names = append(names, e["UNIT"])
		}
	}
	return names
}

// A backend that nobody here wrote.
func TestE2EEverythingServer(t *testing.T) {
	s := install(t, program(t, "github.com/modelcontextprotocol/go-sdk/conformance/everything-server"))
	// It takes none of forgejo-mcp's flags.
	must(t, s.C.CopyIn(program(t, "github.com/modelcontextprotocol/go-sdk/conformance/everything-server"), "/usr/local/bin/everything-server", 0o755))
	must(t, s.C.WriteFile("/usr/bin/forgejo-mcp", []byte("#!/bin/sh\nexec /usr/local/bin/everything-server\n"), 0o755))
	must(t, s.Configure(nil))
	must(t, s.Enable(t.Context()))
	c := connect(t, s, "alice")
	if text := call(t, c, "test_simple_text", nil); text == "" {
		t.Error("no text")
	}
	tools, err := c.ListTools(t.Context(), nil)
	must(t, err)
	prompts, err := c.ListPrompts(t.Context(), nil)
	must(t, err)
	resources, err := c.ListResources(t.Context(), nil)
	must(t, err)
	t.Logf("%d tools, %d prompts, %d resources", len(tools.Tools), len(prompts.Prompts), len(resources.Resources))
	if len(tools.Tools) == 0 || len(prompts.Prompts) == 0 || len(resources.Resources) == 0 {
		t.Error("something is missing")
	}
}
