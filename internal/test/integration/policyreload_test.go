package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
)

// reload has the broker load what was written, and wants so many faults.
func (w policed) reload(c *admin.Caller, text string, faults int) admin.PolicyLoad {
	w.t.Helper()
	w.write(text)
	l, err := c.ReloadPolicy(w.t.Context())
	w.must(err)
	if len(l.Faults) != faults {
		w.t.Errorf("%d faults, want %d: %q", len(l.Faults), faults, l.Faults)
	}
	return l
}

// checkPolicy is what the broker's own check has found of the policy.
func (w policed) checkPolicy(c *admin.Caller) health.Result {
	w.t.Helper()
	s, err := c.Status(w.t.Context())
	w.must(err)
	i := slices.IndexFunc(s.Checks, func(r health.Result) bool { return r.Name == "policy" })
	if i < 0 {
		w.t.Fatalf("there is no check of the policy: %+v", s.Checks)
	}
	return s.Checks[i]
}

// A reload holds sessions that are open to what it brings, and says which; with a fault all
// stays as it was, and what is wrong is told wherever an operator looks.
func TestPolicyReload(t *testing.T) {
	w := startPoliced(t)
	all := rule("grant", "all", "everyone = true", `access = "write"`)
	w.under(all)
	operator := admin.NewCaller(w.broker.AdminSocket())
	client, err := w.register(t.Context())
	w.must(err)
	token, _ := w.loginFor(client, "", "write")
	id := w.begin(token)
	w.wantText(w.tool(token, id, "create_issue", newIssue), "made by a client")

	noIssues := all + rule("deny", "no-issues", "everyone = true", `toolsets = ["issues"]`)
	l := w.reload(operator, noIssues, 0)
	if !slices.Equal(l.Added, []string{"no-issues"}) || len(l.Removed)+len(l.Changed) != 0 || l.Rules != 2 || len(l.Sessions) != 1 || l.Sessions[0].User != "alice" {
		t.Errorf("got %+v", l)
	}
	made := w.forge.Requests(repoIssues)
	w.wantRefusedBy(w.tool(token, id, "create_issue", newIssue), "no-issues")
	w.wantText(w.tool(token, id, "get_my_user_info", struct{}{}), "alice")
	w.waitLog(`FJMCP_EVENT=policy_loaded FJMCP_OUTCOME=ok FJMCP_DETAIL="2 rule(s), digest `+l.Digest+`, added no-issues"`, 1)
	if l := w.reload(operator, "# the same\n"+noIssues, 0); len(l.Sessions)+len(l.Added)+len(l.Removed)+len(l.Changed) != 0 {
		t.Errorf("of the same: %+v", l)
	}

	// Faults.
	l = w.reload(operator, strings.ReplaceAll(all, "access", "acess")+rule("deny", "b", `users = ["b b"]`, ""), 3)
	w.wantRefusedBy(w.tool(token, id, "create_issue", newIssue), "no-issues")
	w.waitLog(`FJMCP_EVENT=policy_loaded FJMCP_OUTCOME=faulty`, 1)
	for _, f := range l.Faults {
		if !strings.Contains(w.log.String(), f[:13]) {
			t.Errorf("the log does not have %s", f)
		}
	}
	if r := w.checkPolicy(operator); r.State != health.Warning || r.Fault != health.PolicyFaulty || !strings.Contains(r.Cause, "3 fault(s)") {
		t.Errorf("got %+v", r)
	}
	if s, err := operator.Status(t.Context()); err != nil || !s.Policy.Failed || s.Policy.Failures != 1 || s.Policy.Rules != 2 || s.Health != admin.Healthy {
		t.Errorf("got %+v, %v", s.Policy, err)
	}
	w.write(all)
	if r := w.checkPolicy(operator); r.Fault != health.PolicyUnloaded || !strings.Contains(r.Cause, "0 rule(s) added, 1 removed, 0 changed") {
		t.Errorf("got %+v", r)
	}
	w.must(os.Remove(filepath.Join(w.dir, "policy.toml")))
	if l, err := operator.ReloadPolicy(t.Context()); err != nil || len(l.Faults) != 1 {
		t.Errorf("of a file that is gone: %+v, %v", l, err)
	}
	w.wantRefusedBy(w.tool(token, id, "create_issue", newIssue), "no-issues")

	// What was taken away comes back, as the login began with it.
	if l := w.reload(operator, all, 0); !slices.Equal(l.Removed, []string{"no-issues"}) || len(l.Sessions) != 1 {
		t.Errorf("got %+v", l)
	}
	w.wantText(w.tool(token, id, "create_issue", newIssue), "made by a client")
	if n := w.forge.Requests(repoIssues) - made; n != 1 {
		t.Errorf("%d issues reached the forge, want one", n)
	}
	if r := w.checkPolicy(operator); r.State != health.OK {
		t.Errorf("got %+v", r)
	}
}

// A name that somebody else has by now is a fault, and so is one that cannot be looked up; a
// name that is known holds while the forge is down. A check changes nothing.
func TestPolicyNames(t *testing.T) {
	w := startPoliced(t)
	alices, bobs := rule("grant", "alices", `users = ["alice"]`, `access = "write"`), rule("grant", "bobs", `users = ["bob"]`, `access = "write"`)
	w.under(alices)
	operator := admin.NewCaller(w.broker.AdminSocket())
	check := func(text string) admin.PolicyCheck {
		t.Helper()
		c, err := operator.CheckPolicy(t.Context(), admin.PolicyText{Text: &text})
		w.must(err)
		return c
	}
	if c := check(alices + bobs); len(c.Faults) != 0 || !slices.Equal(c.Added, []string{"bobs"}) || !slices.Equal(c.Idle, []string{"alices", "bobs"}) {
		t.Errorf("got %+v", c)
	}
	w.reload(operator, alices, 0) // which looks her up
	w.forge.Stop()
	if l := w.reload(operator, alices+bobs, 1); !strings.Contains(l.Faults[0], `line 5: users: "bob" was never looked up and the forge cannot be asked now`) {
		t.Errorf("got %q", l.Faults)
	}
	w.reload(operator, alices+rule("grant", "bobs", `users = ["bob#2"]`, `access = "read"`), 0)
	w.must(w.forge.Resume())

	id := w.forge.UserID("alice")
	w.must(w.forge.Rename("alice", "alicia"))
	w.forge.AddUser("alice")
	taken := fmt.Sprintf(`line 1: users: "alice" was id %d and is id %d at the forge now`, id, w.forge.UserID("alice"))
	if l := w.reload(operator, alices+bobs, 1); !strings.Contains(l.Faults[0], taken) {
		t.Errorf("got %q", l.Faults)
	}
	if c := check(alices); len(c.Faults) != 1 {
		t.Errorf("got %+v", c)
	}
	w.reload(operator, strings.Replace(alices, `"alice"`, fmt.Sprintf(`"alice#%d"`, id), 1), 0)
}

// Explained is who may do what and why, also for who was never here; and without a policy
// what an operator needs to write one.
func TestPolicyExplained(t *testing.T) {
	w := startPoliced(t)
	w.broker.Setenv("FJMCP_BROKER_POLICY", "")
	w.broker.Stop(syscall.SIGTERM)
	w.must(w.broker.Restart(t.Context(), w.program()))
	acme := w.forge.AddOrganization("acme", true)
	team := w.join("alice", "acme")
	operator := admin.NewCaller(w.broker.AdminSocket())
	explain := func(user, tool, repo string) admin.PolicyAnswer {
		t.Helper()
		a, err := operator.ExplainPolicy(t.Context(), admin.PolicyQuestion{User: user, Tool: tool, Repository: repo})
		w.must(err)
		return a
	}
	w.mustConnect("alice")
	a := explain("alice", "", "")
	if a.Policy || !a.Allowed || len(a.Member.Organizations) != 1 || a.Member.Organizations[0] != (admin.PolicyNamed{ID: acme, Name: "acme"}) ||
		len(a.Member.Teams) != 1 || a.Member.Teams[0] != (admin.PolicyNamed{ID: team, Name: "acme/developers"}) || len(a.Logins) != 1 || a.Logins[0].Bound != nil {
		t.Errorf("without a policy: %+v", a)
	}

	w.broker.Setenv("FJMCP_BROKER_POLICY", filepath.Join(w.dir, "policy.toml"))
	w.under(rule("grant", "developers", fmt.Sprintf(`teams = ["acme/developers#%d"]`, team), "access = \"write\"\nowners = [\"alice\"]") +
		rule("deny", "no-wiki", "everyone = true", `toolsets = ["wiki"]`))
	w.mustConnect("alice")
	a = explain("alice", "create_issue", "alice/hello")
	if !a.Policy || !a.Allowed || len(a.Rules) != 2 || !a.Rules[0].Decides || a.Rules[0].By[0] != fmt.Sprintf("team acme/developers#%d", team) || !slices.Equal(a.Rules[1].Misses, []string{"tool"}) ||
		len(a.Logins) != 2 || !a.Member.Counts || a.Member.Asked.IsZero() {
		t.Errorf("got %+v", a)
	}
	if a := explain("alice", "create_issue", "acme/site"); a.Allowed || a.Rule != "" || !slices.Equal(a.Rules[0].Misses, []string{"repository"}) || a.Rules[0].Decides {
		t.Errorf("elsewhere: %+v", a)
	}
	if a := explain("alice", "list_wiki_pages", "alice/hello"); a.Allowed || a.Rule != "no-wiki" || a.Rules[0].Decides || !a.Rules[1].Decides {
		t.Errorf("the wiki: %+v", a)
	}
	for _, who := range []string{"bob", fmt.Sprintf("id:%d", w.forge.UserID("bob"))} {
		if a := explain(who, "", ""); a.Allowed || a.UserID != fmt.Sprint(w.forge.UserID("bob")) || len(a.Logins) != 0 || !a.Member.Asked.IsZero() {
			t.Errorf("of %s: %+v", who, a)
		}
	}
	for _, q := range []admin.PolicyQuestion{{User: "nobody"}, {User: "alice", Tool: "make_coffee"}, {User: "alice", Repository: "hello"}} {
		var fault *admin.Error
		if _, err := operator.ExplainPolicy(t.Context(), q); !errors.As(err, &fault) {
			t.Errorf("%+v: %v", q, err)
		}
	}
}
