package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
)

const policyFile = "/etc/fjmcp/policy.toml"

// What the operator writes, one after another.
const (
	twoPeople = `[[grant]]
name = "alice-writes"
users = ["alice"]
access = "write"

[[grant]]
name = "bob-reads"
users = ["bob"]
access = "read"
`
	noIssues = `[[deny]]
name = "no-issues"
everyone = true
toolsets = ["issues"]
`
	faultyPolicy = `[[grant]]
name = "all"
everyon = true
acess = "write"
`
)

// TestE2EPolicy is an operator who writes a policy, reloads it under a session that is open
// and under load, makes a mistake, and restarts.
func TestE2EPolicy(t *testing.T) {
	s := install(t, standin(t))
	must(t, s.Configure(map[string]string{"FJMCP_BROKER_CALLS_PER_MINUTE": "0"}))
	must(t, s.Enable(t.Context()))
	run(t, s, "fjmcpctl", "status") // which starts it

	// What is wrong with a policy is told before anything is done.
	must(t, s.C.WriteFile(policyFile, []byte(faultyPolicy), 0o644))
	wants(t, "check", told(t, s, 1, "fjmcpctl", "policy", "check"), "line 3", "line 4", "nothing was changed")
	must(t, s.C.WriteFile(policyFile, []byte(twoPeople), 0o644))
	wants(t, "check", run(t, s, "fjmcpctl", "policy", "check"), "2 rules in it", "added", "bob-reads", "for nobody who has logged in here")
	run(t, s, "systemctl", "reload", "fjmcp-broker.service")
	wants(t, "status", run(t, s, "fjmcpctl", "status"), policyFile+": 2 rules")

	alice, bob := connect(t, s, "alice"), connect(t, s, "bob")
	call(t, alice, "create_issue", issue)
	call(t, bob, "get_my_user_info", nil)
	wants(t, "a call that writes", tryCall(t, bob, "create_issue"), "policy allows you the tool")
	s.Forge.AddUser("carol")
	if c, err := s.Connect(t.Context(), "carol", nil); err == nil {
		c.Close()
		t.Error("carol, whom no rule lets do anything, is connected")
	} else {
		wants(t, "carol", err.Error(), "Your account may not connect here")
	}
	wants(t, "audit", run(t, s, "fjmcpctl", "audit", "--outcome", "policy", "--json"), `"event":"tool_call"`, `"event":"login_failed"`)
	wants(t, "explain", run(t, s, "fjmcpctl", "policy", "explain", "--user", "bob", "--tool", "create_issue"), "no rule grants it", "bob-reads, line 6: is of another access")

	// A denial reaches the open session, and the audit names it.
	must(t, s.C.WriteFile(policyFile, []byte(twoPeople+noIssues), 0o644))
	began := time.Now()
	run(t, s, "systemctl", "reload", "fjmcp-broker.service")
	await(t, "the denial reaches the session", func() bool { return strings.Contains(tryCall(t, alice, "create_issue"), "no-issues") })
	t.Logf("a reload reached the open session within %v", time.Since(began).Round(time.Millisecond))
	wants(t, "audit", run(t, s, "fjmcpctl", "audit", "--rule", "no-issues"), "create_issue")
	wants(t, "the journal", run(t, s, "journalctl", "-u", "fjmcp-broker.service", "FJMCP_RULE=no-issues", "-o", "json"), "no-issues")
	wants(t, "the journal", run(t, s, "journalctl", "-u", "fjmcp-broker.service", "FJMCP_EVENT=policy_loaded", "-o", "verbose"), "added no-issues", "FJMCP_OPERATOR=root")

	// A mistake changes nothing, and is told where an operator looks.
	pid := run(t, s, "systemctl", "show", "--property=MainPID", "fjmcp-broker.service")
	must(t, s.C.WriteFile(policyFile, []byte(faultyPolicy), 0o644))
	wants(t, "a reload", told(t, s, 1, "systemctl", "reload", "fjmcp-broker.service"), "fjmcp-broker.service")
	wants(t, "systemctl status", told(t, s, 0, "systemctl", "status", "--no-pager", "fjmcp-broker.service"), policyFile+": line 3", "nothing was changed", "active (running)")
	wants(t, "what is in force", tryCall(t, alice, "create_issue"), "no-issues")
	wants(t, "status", run(t, s, "fjmcpctl", "status"), "the last reload failed", "policy check")
	wants(t, "doctor", told(t, s, 1, "fjmcpctl", "doctor"), policyFile+": line 3")
	if now := run(t, s, "systemctl", "show", "--property=MainPID", "fjmcp-broker.service"); now != pid {
		t.Errorf("the broker was process %s and is %s", pid, now)
	}

	// A restart keeps it, as what the file says.
	must(t, s.C.WriteFile(policyFile, []byte(twoPeople+noIssues), 0o640))
	run(t, s, "chgrp", "fjmcp", policyFile)
	run(t, s, "systemctl", "restart", "fjmcp-broker.service")
	wants(t, "after a restart", tryCall(t, alice, "create_issue"), "no-issues")

	// Reloads disturb nobody.
	for i := range 20 {
		must(t, s.C.WriteFile(policyFile, []byte(twoPeople+strings.Repeat("#", i)), 0o644))
		done := make(chan nspawn.Result)
		go func() {
			r, _ := s.C.Exec(t.Context(), nspawn.Cmd{Argv: []string{"systemctl", "reload", "fjmcp-broker.service"}})
			done <- r
		}()
		for r := (*nspawn.Result)(nil); r == nil; {
			select {
			case ended := <-done:
				if r = &ended; r.Code != 0 {
					t.Errorf("reload %d: %+v", i, *r)
				}
			default:
				call(t, alice, "get_my_user_info", nil)
			}
		}
	}

	// To go without, it takes a restart.
	must(t, s.C.Remove(policyFile))
	wants(t, "a reload without the file", told(t, s, 1, "fjmcpctl", "policy", "reload"), "it is gone", "systemctl restart")
	run(t, s, "systemctl", "restart", "fjmcp-broker.service")
	connect(t, s, "carol")
}

var issue = map[string]any{"owner": "alice", "repo": "hello", "title": "by policy"}

// told runs a command that is to exit with code, and returns all that it says.
func told(t *testing.T, s *System, code int, argv ...string) string {
	t.Helper()
	r, err := s.C.Exec(t.Context(), nspawn.Cmd{Argv: argv})
	must(t, err)
	if r.Code != code {
		t.Errorf("%v exits with %d, want %d: %s%s", argv, r.Code, code, r.Stdout, r.Stderr)
	}
	return r.Stdout + r.Stderr
}

func wants(t *testing.T, what, said string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("%s does not say %q: %s", what, w, said)
		}
	}
}

// tryCall returns what a tool answers, or with what it fails.
func tryCall(t *testing.T, c *loginclient.Client, tool string) string {
	t.Helper()
	r, err := c.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: issue})
	if err != nil {
		return err.Error()
	}
	text, ok := r.Content[0].(*mcp.TextContent)
	if !ok {
		t.Fatalf("%s: got %T", tool, r.Content[0])
	}
	return text.Text
}
