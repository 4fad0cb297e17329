package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// policed is a broker that is started anew under each policy.
type policed struct{ *world }

func startPoliced(t *testing.T) policed {
	w := start(t, "standin")
	w.broker.Setenv("FJMCP_BROKER_POLICY", filepath.Join(w.dir, "policy.toml"))
	return policed{w}
}

// write writes the policy that the broker reads when it starts next.
func (w policed) write(text string) {
	w.t.Helper()
	w.must(os.WriteFile(filepath.Join(w.dir, "policy.toml"), []byte(text), 0o644))
}

// under is another process, after one that was killed, under a policy.
func (w policed) under(text string) {
	w.t.Helper()
	w.write(text)
	w.broker.Stop(syscall.SIGKILL)
	w.must(w.broker.Restart(w.t.Context(), w.program()))
}

func rule(kind, name, who, more string) string {
	return fmt.Sprintf("[[%s]]\nname = %q\n%s\n%s\n", kind, name, who, more)
}

func (w policed) join(user, org string) (team int64) {
	w.t.Helper()
	team, err := w.forge.Join(user, org, "developers")
	w.must(err)
	return team
}

const repoIssues = "/api/v1/repos/alice/hello/issues"

// Members of an organization connect and nobody else; what a policy takes away is refused
// by its rule to a session that has begun before, and to its children; who may do nothing
// is told so before anything starts, and goes on in the same session when that is over.
func TestPolicy(t *testing.T) {
	w := startPoliced(t)
	w.forge.AddOrganization("acme", false)
	w.join("alice", "acme")
	members := rule("grant", "members", `organizations = ["Acme"]`, `access = "write"`)
	w.under(members)
	if _, err := w.connect("bob"); err == nil {
		t.Error("bob, who is no member, may connect")
	}
	w.waitLog(`FJMCP_EVENT=login_failed FJMCP_USER=bob`, 1)
	client, err := w.register(t.Context())
	w.must(err)
	token, _ := w.loginFor(client, "", "write")
	id := w.begin(token)
	w.wantText(w.tool(token, id, "create_issue", newIssue), "made by a client")
	made := w.forge.Requests(repoIssues)

	w.under(members + rule("deny", "no-issues", "everyone = true", "access = \"write\"\ntoolsets = [\"issues\"]"))
	w.wantRefusedBy(w.tool(token, id, "create_issue", newIssue), "no-issues")
	if n := w.forge.Requests(repoIssues); n != made {
		t.Errorf("%d requests came to the forge", n-made)
	}

	w.under(members + rule("deny", "no-alice", `users = ["alice"]`, ""))
	started := strings.Count(w.log.String(), "FJMCP_EVENT=session_started")
	r := w.tool(token, id, "get_my_user_info", struct{}{})
	if r.status != 403 || !strings.Contains(r.body, "the rule 'no-alice' of this server does not let your account do anything") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if n := strings.Count(w.log.String(), "FJMCP_EVENT=session_started"); n != started {
		t.Errorf("%d units were started for who may do nothing", n-started)
	}

	w.under(members)
	w.wantText(w.tool(token, id, "create_issue", newIssue), "made by a client")

	// She leaves: the forge is asked at the next process's first call only when its word is
	// old, and at the next login.
	w.must(w.forge.Leave("alice", "acme"))
	w.wantText(w.tool(token, id, "get_my_user_info", struct{}{}), "alice")
	if _, err := w.connect("alice"); err == nil {
		t.Error("alice, who has left, may connect")
	}
	if r := w.tool(token, id, "get_my_user_info", struct{}{}); r.status != 403 && r.status != 401 {
		t.Errorf("with her login of before: %d %s", r.status, r.body)
	}
}

// wantRefusedBy wants a result that names a rule of the policy.
func (w policed) wantRefusedBy(r response, rule string) {
	w.t.Helper()
	text, isError := r.toolResult()
	if !isError || !strings.Contains(text, rule) {
		w.t.Errorf("got %q (isError %v), want a result that names %s", text, isError, rule)
	}
}

// Whoever logged in when less was allowed stays with that; another login has more.
func TestPolicyRaisedNeedsALogin(t *testing.T) {
	w := startPoliced(t)
	w.under(rule("grant", "all", "everyone = true", `access = "read"`))
	client, err := w.register(t.Context())
	w.must(err)
	old, _ := w.loginFor(client, "", "write")
	first := w.begin(old)
	w.under(rule("grant", "all", "everyone = true", `access = "write"`))
	if text, isError := w.tool(old, first, "create_issue", newIssue).toolResult(); !isError {
		t.Errorf("the login of before: %s", text)
	}
	fresh, _ := w.loginFor(client, "", "write")
	if r := w.tool(fresh, first, "get_my_user_info", struct{}{}); r.status != 404 {
		t.Errorf("the session of the other login: %d %s", r.status, r.body)
	}
	w.wantText(w.tool(fresh, w.begin(fresh), "create_issue", newIssue), "made by a client")
	if text, isError := w.tool(old, first, "create_issue", newIssue).toolResult(); !isError {
		t.Errorf("the login of before, after the other: %s", text)
	}
	w.wantText(w.tool(old, first, "get_my_user_info", struct{}{}), "alice")
}

// The broker starts without the forge under a policy whose names were never looked up, and
// grants by them when the forge is there; somebody who takes a name meanwhile gets nothing.
func TestPolicyWithoutForge(t *testing.T) {
	w := startPoliced(t)
	client, err := w.register(t.Context())
	w.must(err)
	token, _ := w.loginFor(client, "", "write")
	id := w.begin(token)
	w.forge.Stop()
	w.under(rule("grant", "alices", `users = ["alice"]`, `access = "write"`))
	w.waitLog("names of the policy grant nobody anything", 1)
	if r := w.tool(token, id, "get_my_user_info", struct{}{}); r.status != 403 || !strings.Contains(r.body, "no rule of this server") {
		t.Errorf("%d %s", r.status, r.body)
	}
	w.must(w.forge.Resume())
	w.broker.Stop(syscall.SIGTERM)
	w.must(w.broker.Restart(t.Context(), w.program()))
	w.until("she may again", func() bool { return w.tool(token, id, "get_my_user_info", struct{}{}).status == 200 })

	w.must(w.forge.Rename("alice", "alicia"))
	w.forge.AddUser("alice")
	w.broker.Stop(syscall.SIGTERM)
	w.must(w.broker.Restart(t.Context(), w.program()))
	w.wantText(w.tool(token, id, "get_my_user_info", struct{}{}), "alicia")
	if _, err := w.connect("alice"); err == nil {
		t.Error("who has taken her name may connect")
	}
}

// A policy that is not fit for this broker has it end with the status of a configuration
// fault, and say all that is wrong.
func TestPolicyFaultsAtStart(t *testing.T) {
	w := startPoliced(t)
	w.broker.Setenv("FJMCP_BROKER_FORGEJO_SCOPES", "write:repository write:issue")
	w.write(rule("grant", "a", `organizations = ["acme"]`, `access = "read"`) + rule("grant", "b", "administrators = true", `access = "read"`))
	if err := w.broker.Restart(t.Context(), w.program()); err == nil {
		t.Fatal("the broker starts")
	}
	for _, want := range []string{"policy.toml: line 1: organizations: ", "policy.toml: line 5: administrators: ", "2 fault(s)"} {
		if !strings.Contains(w.log.String(), want) {
			t.Errorf("no %q in\n%s", want, w.log)
		}
	}
}

// Ten thousand rules are in force as one is.
func TestManyRules(t *testing.T) {
	w := startPoliced(t)
	var text strings.Builder
	for i := range 10_000 {
		who := fmt.Sprintf(`users = ["user%d#%d"]`, i, 1_000_000+i)
		if i == 9_999 {
			who = `users = ["alice"]`
		}
		text.WriteString(rule("grant", fmt.Sprint("r", i), who, "access = \"write\"\nrepositories = [\"alice/h*\"]"))
	}
	w.under(text.String())
	client, err := w.register(t.Context())
	w.must(err)
	token, _ := w.loginFor(client, "", "write")
	id := w.begin(token)
	w.wantText(w.tool(token, id, "create_issue", newIssue), "made by a client")
	if _, err := w.connect("bob"); err == nil {
		t.Error("bob may connect")
	}
}
