package rights_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/rights"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

// grant is a rule of a policy.
func grant(name, who, access string) string {
	return fmt.Sprintf("[[grant]]\nname = %q\n%s\naccess = %q\n", name, who, access)
}

const (
	orgsPath  = "/api/v1/user/orgs"
	teamsPath = "/api/v1/user/teams"
)

func TestNoPolicy(t *testing.T) {
	w := newWorld(t)
	a := w.logIn("alice")
	if l := w.limits(a); l != nil || a.Ceiling != "" {
		t.Errorf("limits %+v, ceiling %q", l, a.Ceiling)
	}
	var none *rights.Rights
	if err := none.Limit(t.Context(), &a); err != nil || a.Limits != nil {
		t.Errorf("%+v, %v", a.Limits, err)
	}
	if n := w.forge.Requests("/api/v1/user"); n != 0 {
		t.Errorf("the forge was asked %d times what she is a member of", n)
	}
}

// What a policy takes away is gone at once; what it adds needs a login, and so does what one
// that is gone allowed.
func TestCeilings(t *testing.T) {
	w := newWorld(t)
	before := w.logIn("alice") // without a policy: no ceiling
	w.must(w.load(grant("all", "everyone = true", "read")))
	reading := w.logIn("alice")
	w.must(w.load(grant("all", "everyone = true", "write")))
	writing := w.logIn("alice")
	if reading.Ceiling == writing.Ceiling {
		t.Fatal("the ceilings are equal")
	}
	for step, c := range []struct{ policy, before, reading, writing string }{
		{grant("all", "everyone = true", "write"), "write", "read", "write"},
		{grant("all", "everyone = true", "read"), "read", "read", "read"},
		{grant("bobs", `users = ["bob"]`, "read"), "nothing", "nothing", "nothing"},
		{grant("all", "everyone = true", "write"), "write", "read", "write"},
		{"", "write", "read", "write"},
	} {
		w.told()
		w.must(w.load(c.policy))
		if told := w.told(); !slices.Equal(told, []string{""}) {
			t.Errorf("step %d: Changed told %q", step, told)
		}
		for range 2 { // also another process
			w.may(before, c.before)
			w.may(reading, c.reading)
			w.may(writing, c.writing)
			w.restart(c.policy)
		}
	}
	if l := w.limits(reading); len(l) != 1 {
		t.Errorf("a ceiling without a policy: %+v", l)
	}
	w.must(w.load(grant("all", "everyone = true", "write")))
	if l := w.limits(writing); len(l) != 1 {
		t.Errorf("a ceiling that is what holds today is there twice: %+v", l)
	}
}

// A leaver loses what membership granted with the next question, whoever joins gains nothing
// in a login that stands, and each user is asked about once in ten minutes.
func TestMembershipOfToday(t *testing.T) {
	w := newWorld(t)
	w.forge.AddOrganization("acme", true)
	w.join("alice", "acme", "developers")
	team := w.join("bob", "acme", "writers")
	id := w.forge.AddOrganization("public", false)
	text := grant("acme", fmt.Sprintf("organizations = [\"public#%d\"]", id), "read") +
		grant("writers", fmt.Sprintf("teams = [\"acme/writers#%d\"]", team), "write") + grant("admins", "administrators = true", "write")
	w.must(w.load(text))
	if _, _, err := w.tryLogIn("alice"); !errors.Is(err, model.ErrPolicy) {
		t.Fatalf("a user of no rule: %v", err)
	}
	w.join("alice", "public", "readers")
	alice, bob := w.logIn("alice"), w.logIn("bob")
	w.may(alice, "read")
	w.may(bob, "write")
	asked := w.forge.Requests(orgsPath)
	w.must(w.forge.Leave("bob", "acme"))
	w.join("alice", "acme", "writers")
	w.advance(10*time.Minute - time.Second)
	w.may(bob, "write")
	if n := w.forge.Requests(orgsPath); n != asked {
		t.Errorf("%d questions within ten minutes", n-asked)
	}
	w.told()
	w.advance(time.Second)
	w.may(bob, "nothing")
	w.may(alice, "read") // her ceiling
	if n := w.forge.Requests(orgsPath); n != asked+2 {
		t.Errorf("%d questions about two users", n-asked)
	}
	if told := w.told(); !slices.Equal(told, []string{bob.User.ID, alice.User.ID}) {
		t.Errorf("Changed told %q", told)
	}
	w.may(w.logIn("alice"), "write")
	w.must(w.forge.SetAdministrator("bob", true))
	w.may(w.logIn("bob"), "write")
	for _, want := range []string{
		`FJMCP_EVENT=membership_changed FJMCP_USER=bob FJMCP_OUTCOME=ok FJMCP_DETAIL="lost organization acme#`,
		fmt.Sprintf("gained team acme/writers#%d", team), "is a site administrator now",
	} {
		if !strings.Contains(w.trail.String(), want) {
			t.Errorf("no %s in\n%s", want, w.trail)
		}
	}
	// Another process knows what this one was told, and asks when that is too old.
	asked = w.forge.Requests(orgsPath)
	w.restart(text)
	w.may(bob, "write")
	if n := w.forge.Requests(orgsPath); n != asked {
		t.Errorf("%d questions after a restart", n-asked)
	}
}

// Where the forge cannot be asked no rule that grants by membership does, others do, and it
// is not asked again at once.
func TestForgeCannotBeAsked(t *testing.T) {
	w := newWorld(t)
	id := w.forge.AddOrganization("acme", false)
	w.join("alice", "acme", "developers")
	text := grant("all", "everyone = true", "read") + grant("acme", fmt.Sprintf("organizations = [\"acme#%d\"]", id), "write")
	w.must(w.load(text))
	a := w.logIn("alice")
	w.may(a, "write")
	for name, fault := range map[string]fakeforge.Fault{
		"down": {Path: teamsPath, Kind: "status", Status: http.StatusBadGateway}, "unauthorized": {Path: orgsPath, Kind: "status", Status: http.StatusUnauthorized},
		"html": {Path: "/api/v1/user", Kind: "html"}, "dropped": {Path: orgsPath, Kind: "drop"},
	} {
		w.must(w.forge.Inject(fault))
		w.advance(10 * time.Minute)
		w.told()
		w.may(a, "read")
		if told := w.told(); !slices.Equal(told, []string{a.User.ID}) {
			t.Errorf("%s: Changed told %q", name, told)
		}
		w.forge.ClearFaults()
		asked := w.forge.Requests("/api/v1/user")
		w.advance(30*time.Second - time.Millisecond)
		w.may(a, "read")
		if n := w.forge.Requests("/api/v1/user"); n != asked {
			t.Errorf("%s: %d questions within half a minute", name, n-asked)
		}
		w.advance(time.Millisecond)
		w.may(a, "write") // not above the login's
	}
}

// However many calls come at a time, one question is under way for a user; a call that is
// given up does not end it.
func TestOneQuestionAtATime(t *testing.T) {
	w := newWorld(t)
	id := w.forge.AddOrganization("acme", false)
	w.join("alice", "acme", "developers")
	w.must(w.load(grant("acme", fmt.Sprintf("organizations = [\"acme#%d\"]", id), "read")))
	a := w.logIn("alice")
	asked := w.forge.Requests(orgsPath)
	w.advance(10 * time.Minute)
	w.must(w.forge.Inject(fakeforge.Fault{Path: orgsPath, Kind: "hold"}))
	ctx, cancel := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	calls.Go(func() {
		left := a
		if err := w.rights.Limit(ctx, &left); !errors.Is(err, context.Canceled) {
			t.Errorf("the call that was given up: %v", err)
		}
	})
	for w.forge.Waiting() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	for range 20 {
		calls.Go(func() { w.may(a, "read") })
	}
	time.Sleep(20 * time.Millisecond) // a second question would come
	w.forge.ClearFaults()
	calls.Wait()
	if n := w.forge.Requests(orgsPath); n != asked+1 {
		t.Errorf("%d questions", n-asked)
	}
}

// At its start the broker takes whom it was told before; a name that was never looked up
// grants nobody anything until it is, and a denial holds for whom the broker knows by it.
func TestStartWithoutForge(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.logIn("alice"), w.logIn("bob")
	w.must(w.load(grant("a", `users = ["alice"]`, "write")))
	w.forge.Stop()
	text := grant("a", `users = ["alice"]`, "write") + grant("b", `users = ["bob"]`, "read")
	w.restart(text)
	w.may(alice, "write")
	w.may(bob, "nothing")
	if s := w.rights.Status(); !s.InForce || s.Rules != 2 || !slices.Equal(s.Unknown, []string{"user bob"}) {
		t.Errorf("%+v", s)
	}
	w.restart(grant("all", "everyone = true", "write") + "[[deny]]\nname = \"d\"\nusers = [\"Bob\"]\n")
	w.may(alice, "write")
	w.may(bob, "nothing")
	w.must(w.forge.Resume())
	w.restart(text)
	for deadline := time.Now().Add(10 * time.Second); len(w.rights.Status().Unknown) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the forge is not asked beside")
		}
	}
	w.may(bob, "read")
}

// A forge that shows nothing to who is not logged in tells of a name when its user logs in.
func TestNameIsLearntAtLogin(t *testing.T) {
	w := newWorld(t)
	w.must(w.forge.Inject(fakeforge.Fault{Path: "/api/v1/users/", Kind: "status", Status: http.StatusForbidden}))
	text := grant("a", `users = ["alice"]`, "write")
	w.restart(text)
	a := w.logIn("alice")
	w.may(a, "write")
	w.restart(text)
	w.may(a, "write")
	if err := w.load(text); err == nil || !strings.Contains(err.Error(), "write alice#"+number(w.forge.UserID("alice"))) {
		t.Errorf("a reload that cannot see her: %v", err)
	}
}

// Somebody who takes the name of an account that a rule means gets nothing by it, and the
// next reload says so.
func TestNameTakenByAnother(t *testing.T) {
	w := newWorld(t)
	text := grant("a", `users = ["alice"]`, "write") + grant("b", `users = ["bob"]`, "read")
	w.must(w.load(text))
	alice := w.logIn("alice")
	was := w.forge.UserID("alice")
	w.must(w.forge.Rename("alice", "alicia"))
	w.forge.AddUser("alice")
	is := w.forge.UserID("alice")
	for range 2 {
		if _, _, err := w.tryLogIn("alice"); !errors.Is(err, model.ErrPolicy) {
			t.Errorf("the other alice: %v", err)
		}
		w.may(alice, "write")
		err := w.load(text)
		want := fmt.Sprintf(`line 1: users: "alice" was id %d and is id %d at the forge now, so somebody else has the name: if that is meant, write alice#%d`, was, is, is)
		if err == nil || err.Error() != want {
			t.Errorf("reload: %v\nwant %s", err, want)
		}
		w.restart(text)
	}
	w.must(w.load(strings.ReplaceAll(text, `"alice"`, fmt.Sprintf(`"alice#%d"`, is))))
	w.may(alice, "nothing")
	w.may(w.logIn("alice"), "write")
}

// All that is wrong is told at once, each with its line, and the policy stays what it was.
func TestFaults(t *testing.T) {
	w := newWorld(t)
	w.must(w.load(grant("a", `users = ["alice"]`, "write")))
	alice := w.logIn("alice")
	w.forge.AddOrganization("hidden", true)
	w.forge.AddOrganization("acme", false)
	team := w.join("bob", "acme", "readers")
	w.must(w.load(grant("a", `users = ["alice", "bob"]`, "write") + grant("o", `organizations = ["acme"]`, "write")))
	w.logIn("bob")
	err := w.load(grant("a", `users = ["alice", "nobody"]`, "read") + grant("o", `organizations = ["hidden", "acme"]`, "read") + grant("t", `teams = ["acme/Readers", "acme/others"]`, "read"))
	var e *policy.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		`line 1: users: no user "nobody" can be seen at the forge`, `line 5: organizations: no organization "hidden" can be seen`,
		fmt.Sprintf(`line 9: teams: "acme/readers" cannot be looked up without a login, so write acme/readers#ID: a member's login has told that it is acme/readers#%d`, team),
		`line 9: teams: "acme/others" cannot be looked up`,
	} {
		if !slices.ContainsFunc(e.Faults, func(f string) bool { return strings.HasPrefix(f, want) }) {
			t.Errorf("no fault %s among\n%s", want, strings.Join(e.Faults, "\n"))
		}
	}
	if len(e.Faults) != 4 {
		t.Errorf("%d faults: %q", len(e.Faults), e.Faults)
	}
	w.may(alice, "write")
	w.forge.Stop()
	if err := w.load(grant("a", `users = ["alice", "carol"]`, "read")); err == nil || !strings.Contains(err.Error(), `line 1: users: "carol" was never looked up and the forge cannot be asked now`) {
		t.Errorf("without the forge: %v", err)
	}
	w.must(w.load(grant("a", `users = ["alice", "bob#2"]`, "read")))
	w.may(alice, "read")
}

// A rule that needs what the scope does not open is a fault, at start too.
func TestScopeFaults(t *testing.T) {
	w := newWorld(t)
	w.restart("", "write:issue", "read:user")
	text := grant("o", `organizations = ["acme#7"]`, "read") + grant("t", `teams = ["acme/readers#8"]`, "read") + grant("x", "administrators = true", "read")
	for name, load := range map[string]func(context.Context, *policy.Document) error{"start": w.rights.Start, "check": w.rights.Check, "load": w.rights.Load} {
		var e *policy.Error
		if err := load(t.Context(), w.parse(text)); !errors.As(err, &e) || len(e.Faults) != 1 || !strings.Contains(e.Faults[0], "line 1: organizations: the forge tells of them only with the scope read:user read:organization") {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.restart("", "write:issue")
	var e *policy.Error
	if err := w.load(text); !errors.As(err, &e) || len(e.Faults) != 3 {
		t.Errorf("with issues alone: %v", err)
	}
}

// Check changes nothing.
func TestCheck(t *testing.T) {
	w := newWorld(t)
	w.must(w.load(grant("a", `users = ["alice"]`, "write")))
	w.told()
	w.must(w.rights.Check(t.Context(), w.parse(grant("b", `users = ["bob"]`, "write"))))
	names, err := w.store.PolicyNames(t.Context())
	w.must(err)
	if told := w.told(); len(told) > 0 || len(names) != 1 || names[0].Name != "alice" {
		t.Errorf("told %q, names %+v", told, names)
	}
}

// A ceiling that cannot be read allows nothing, and so do rules that are too many for one
// user.
func TestLimitsThatCannotBe(t *testing.T) {
	w := newWorld(t)
	w.must(w.load(grant("all", "everyone = true", "write")))
	a := w.logIn("alice")
	b := a
	b.GrantID, b.Ceiling = "another", "{"
	w.must(w.rights.Limit(t.Context(), &b))
	if can(b.Limits) != "nothing" {
		t.Errorf("with a ceiling that cannot be read: %+v", b.Limits)
	}
	var many strings.Builder
	for i := range 700 {
		fmt.Fprintf(&many, "[[grant]]\nname = \"g%d\"\nusers = [\"alice\"]\naccess = \"read\"\nrepositories = [\"acme/%s%d\"]\n", i, strings.Repeat("x", 80), i)
	}
	w.must(w.load(many.String()))
	w.may(a, "nothing")
	if !strings.Contains(w.trail.String(), "a user may do nothing: the rules that match are too many") {
		t.Error(w.trail)
	}
}

// A login whose grant at the forge does not open the question has what needs none.
func TestNarrowGrant(t *testing.T) {
	w := newWorld(t)
	id := w.forge.AddOrganization("acme", false)
	w.join("alice", "acme", "developers")
	text := grant("all", "everyone = true", "read") + grant("acme", fmt.Sprintf("organizations = [\"acme#%d\"]", id), "write")
	w.must(w.load(text))
	token, err := w.forge.PersonalToken("alice", "read:user")
	w.must(err)
	user, err := w.store.UpsertUser(t.Context(), w.client.Origin(), number(w.forge.UserID("alice")), "alice")
	w.must(err)
	ceiling, err := w.rights.AtLogin(t.Context(), user, token)
	w.must(err)
	if strings.Count(ceiling, "{") != 2 || !strings.Contains(ceiling, "read_only") {
		t.Errorf("ceiling %s", ceiling)
	}
	var e *forgejo.Error
	if _, err := w.rights.AtLogin(t.Context(), user, "dead"); !errors.As(err, &e) {
		t.Errorf("with a dead token: %v", err)
	}
}
