package session_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

// Policies.
const (
	mayWrite   = "[[grant]]\nname = \"all\"\neveryone = true\naccess = \"write\"\n"
	mayRead    = "[[grant]]\nname = \"all\"\neveryone = true\naccess = \"read\"\n"
	noIssues   = mayWrite + "[[deny]]\nname = \"no-issues\"\neveryone = true\naccess = \"write\"\ntoolsets = [\"issues\"]\n"
	mayNothing = "[[grant]]\nname = \"others\"\nusers = [\"bob#7\"]\naccess = \"write\"\n"
)

// under puts a policy in force.
func (w *world) under(text string) {
	w.t.Helper()
	doc, err := policy.Parse([]byte(text))
	w.must(err)
	w.must(w.cfg.Rights.Load(w.t.Context(), doc))
}

// now is access with what bounds it now, as the gateway has it.
func (w *world) bound(a model.Access) model.Access {
	w.t.Helper()
	w.must(w.cfg.Rights.Limit(w.t.Context(), &a))
	return a
}

// loginUnder is another login of alice with that client, begun under the policy of now.
func (w *world) loginUnder() model.Access {
	w.t.Helper()
	ceiling, err := w.cfg.Rights.AtLogin(w.t.Context(), w.login.User, "")
	w.must(err)
	g := w.login.Grant
	g.ID, g.Ceiling = model.NewID(), ceiling
	w.must(teststore.Grant(w.t.Context(), w.store, g, store.Code{Hash: model.Hash(g.ID), ExpiresAt: w.now().Add(time.Minute)}))
	a := w.access
	a.GrantID, a.Ceiling = g.ID, ceiling
	return w.bound(a)
}

// create calls create_issue and returns the answer and why the forge was not asked.
func (w *world) create(s *session.Session, a model.Access, title, more string) (answer string, refused control.Reason, rule string) {
	w.t.Helper()
	c, err := s.Call(w.t.Context(), w.bound(a), message(fmt.Sprintf(
		`{"jsonrpc":"2.0","id":%q,"method":"tools/call","params":{"name":"create_issue","arguments":{"owner":"alice","repo":"hello","title":%q%s}}}`, title, title, more)))
	w.must(err)
	for {
		e, err := c.Next(w.t.Context())
		w.must(err)
		if e.Final {
			return string(e.Raw), c.Refusal().Reason, c.Refusal().Rule
		}
	}
}

const issuesPath = "/api/v1/repos/alice/hello/issues"

// written wants so many requests that made issues to have come to the forge.
func (w *world) written(want int) {
	w.t.Helper()
	if n := w.forge.Requests(issuesPath); n != want {
		w.t.Errorf("%d requests came to the forge, want %d", n, want)
	}
}

// inLine waits until a session's unit has what bounds its login now.
func (w *world) inLine(s *session.Session) {
	w.t.Helper()
	b, err := w.cfg.Rights.Standing(w.t.Context(), w.access.User.ID, s.Access().GrantID)
	w.must(err)
	w.until("the unit has what holds now", func() bool {
		has, unit := s.Bound()
		return has == b.Key && unit == b.Key
	})
}

// What a policy takes away a running unit loses at once, without a call of its client; what
// it gives back needs no other unit.
func TestPolicyChangesUnderARunningSession(t *testing.T) {
	for name, begin := range map[string]func(*world) *session.Session{
		"client": func(w *world) *session.Session { return w.begin(w.bound(w.access)) },
		"shared": func(w *world) *session.Session { return w.shared(w.bound(w.access)) },
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, "standin")
			w.under(mayWrite)
			s := begin(w)
			if answer, refused, _ := w.create(s, w.access, "allowed", ""); refused != "" {
				t.Fatalf("%s: %s", refused, answer)
			}
			before := w.units()
			w.written(1)

			// The child acts when nobody asks it: it was told to before the change.
			who := w.forge.Requests("/api/v1/user")
			w.must(w.forge.Inject(fakeforge.Fault{Path: "/api/v1/version", Kind: "hold"}))
			w.create(s, w.access, "behind", `,"behind":true`)
			w.until("the child asks", func() bool { return w.forge.Waiting() > 0 })
			w.under(noIssues)
			w.inLine(s)
			if name == "client" && !strings.Contains(said(s), "notifications/tools/list_changed") {
				t.Error("its client is not told that its tools are others")
			}
			w.forge.ClearFaults()
			w.until("the child has done", func() bool { return w.forge.Requests("/api/v1/user") > who })
			w.written(1)

			for text, rule := range map[string]string{noIssues: "no-issues", mayRead: ""} {
				w.under(text)
				if answer, refused, by := w.create(s, w.access, "refused", ""); refused != control.ReasonPolicy || by != rule {
					t.Errorf("under\n%s: %q by %q: %s", text, refused, by, answer)
				}
			}
			w.written(1)
			w.under(mayWrite)
			if answer, refused, _ := w.create(s, w.access, "again", ""); refused != "" {
				t.Errorf("%s: %s", refused, answer)
			}
			w.written(2)
			if after := w.units(); len(after) != 1 || after[0] != before[0] {
				t.Errorf("units %q, before %q", after, before)
			}
		})
	}
}

// said is what the session's streams hold for its client.
func said(s *session.Session) string {
	var all strings.Builder
	for _, l := range s.Streams().Save().Logs {
		for _, m := range l.Messages {
			all.Write(m)
		}
	}
	return all.String()
}

// Two logins of a user and a client have different ceilings: each keeps to its own, and
// neither gets at the other's session.
func TestCeilingsOfSessions(t *testing.T) {
	w := start(t, "standin")
	w.under(mayRead)
	reading := w.loginUnder()
	w.under(mayWrite)
	writing := w.loginUnder()
	reading = w.bound(reading)
	if reading.LimitsKey == writing.LimitsKey {
		t.Fatal("the logins are bound alike")
	}
	first, second := w.begin(reading), w.begin(writing)
	if _, refused, _ := w.create(first, reading, "a", ""); refused != control.ReasonPolicy {
		t.Errorf("the first login: %q", refused)
	}
	if answer, refused, _ := w.create(second, writing, "b", ""); refused != "" {
		t.Errorf("the second login: %q %s", refused, answer)
	}
	for _, c := range []struct {
		id     string
		access model.Access
		want   error
	}{{first.ID(), reading, nil}, {second.ID(), writing, nil}, {first.ID(), writing, model.ErrNotFound}, {second.ID(), reading, model.ErrNotFound}} {
		if _, err := w.Get(t.Context(), c.id, c.access); !errors.Is(err, c.want) {
			t.Errorf("got %v, want %v", err, c.want)
		}
	}
	if _, err := second.Call(t.Context(), reading, message(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("a session that was found before: %v", err)
	}
	again := w.loginUnder() // as the second
	if _, err := w.Get(t.Context(), second.ID(), again); err != nil {
		t.Errorf("a login that is bound alike: %v", err)
	}
	w.written(1)
}

// A unit whose user may do nothing any more is stopped, and one that waits for its session
// as well; the session continues when its user may again.
func TestUserMayNothing(t *testing.T) {
	w := start(t, "standin")
	w.under(mayWrite)
	s := w.begin(w.bound(w.access))
	other := w.loginUnder()
	w.Prestart(other)
	w.until("a unit waits", func() bool { return len(w.units()) == 2 })
	w.under(mayNothing)
	w.until("both are stopped", func() bool { return len(w.units()) == 0 })
	w.Prestart(other)
	if w.Waiting() != 0 {
		t.Error("a unit is started ahead for who may do nothing")
	}
	w.under(mayRead)
	if _, refused, _ := w.create(s, w.access, "a", ""); refused != control.ReasonPolicy {
		t.Errorf("refused for %q", refused)
	}
	w.works(s, w.bound(w.access))
}

// A unit that was started ahead has what holds when its session begins.
func TestPrestartedUnderAnotherPolicy(t *testing.T) {
	w := start(t, "standin")
	for step, text := range []string{mayWrite, mayRead} {
		w.under(mayWrite)
		a := w.loginUnder()
		w.Prestart(a)
		w.until("it waits", func() bool { return len(w.units()) == step+1 })
		w.under(text)
		s := w.begin(w.bound(a))
		has, unit := s.Bound()
		if want := w.bound(a).LimitsKey; has != want || unit != want {
			t.Errorf("under\n%s: bound by %q, the unit by %q, want %q", text, has, unit, want)
		}
	}
}

// Under the next process a unit has what holds then before anything is asked of it; one
// whose user may do nothing is stopped.
func TestPolicyChangesWithTheProcess(t *testing.T) {
	w, k := lasting(t, "standin")
	w.under(mayWrite)
	s := w.begin(w.bound(w.access))
	before := w.units()
	w.Shutdown(t.Context())
	w.under(mayRead)
	w.follow(k, none)
	a := w.bound(w.access)
	found, err := w.Get(t.Context(), s.ID(), a)
	w.must(err)
	w.inLineAfter(found, a)
	if _, refused, _ := w.create(found, w.access, "a", ""); refused != control.ReasonPolicy {
		t.Errorf("refused for %q", refused)
	}
	if after := w.units(); len(after) != 1 || after[0] != before[0] {
		t.Errorf("units %q, before %q", after, before)
	}
	w.written(0)
	w.Shutdown(t.Context())
	w.under(mayNothing)
	w.follow(k, none)
	w.until("the unit is stopped", func() bool { return len(w.units()) == 0 })
	if !strings.Contains(w.log.String(), "cannot continue with a session in its unit") {
		t.Error(w.log)
	}
}

// inLineAfter waits until a restored unit has an access's limits.
func (w *world) inLineAfter(s *session.Session, a model.Access) {
	w.t.Helper()
	w.until("the unit has what holds now", func() bool {
		_, unit := s.Bound()
		return unit == a.LimitsKey
	})
}
