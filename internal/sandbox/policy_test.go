package sandbox_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
)

// A session holds the limits that it is given, confirms which, and tells of what they refuse
// before its child hears. What it cannot read allows nothing.
func TestPolicyOfASession(t *testing.T) {
	forge := newForge(t)
	token := forge.token(t, "bob")
	r := startOn(t, "http", forge, token)
	r.want(control.TypeReady)
	set := func(limits []byte) string {
		t.Helper()
		if err := r.control.Send(t.Context(), control.Message{Type: control.TypeMode, ID: "limits", Mode: control.ModeReadWrite, Limits: limits}); err != nil {
			t.Fatal(err)
		}
		return r.want(control.TypeAck).Key
	}
	s := r.connect()
	repo := repoOf(t, forge, token)
	refused := func(rule, words string) {
		t.Helper()
		answered := make(chan string, 1)
		go func() {
			text, _ := call(t, s, "create_issue", map[string]any{"owner": "bob", "repo": repo, "title": "made"})
			answered <- text
		}()
		m := r.want(control.TypeRefused)
		r.confirm(m)
		if text := <-answered; m.Reason != control.ReasonPolicy || m.Rule != rule || !strings.Contains(m.Detail, words) || !strings.Contains(text, m.ID) || !strings.Contains(text, words) {
			t.Errorf("%+v: got %q", m, text)
		}
	}
	denied := policy.Limits{{Grants: []policy.Cover{{}}, Denials: []policy.Cover{{Rule: "frozen", Repositories: []string{"bob/" + repo}, WritesOnly: true}}}}
	if key := set(denied.JSON()); key != denied.Key() {
		t.Errorf("%q is in force", key)
	}
	mustCall(t, s, "get_my_user_info", nil, `"bob"`)
	refused("frozen", "of this server's policy forbids this")
	for _, limits := range []string{"null", "{}", `[{"grants":[{"hours":"9-17"}]}]`} {
		if key := set([]byte(limits)); key != policy.Nothing.Key() {
			t.Errorf("%s: %q is in force", limits, key)
		}
		refused("", "no rule of this server's policy")
	}
	// A packet that is no message changes nothing, and neither does one of an unknown type.
	if err := r.control.Send(t.Context(), control.Message{Type: "mode2", Mode: control.ModeReadWrite, Limits: []byte("[]")}); err != nil {
		t.Fatal(err)
	}
	refused("", "no rule of this server's policy")
	if key := set(nil); key != "" {
		t.Errorf("%q is in force without a policy", key)
	}
	mustCall(t, s, "create_issue", map[string]any{"owner": "bob", "repo": repo, "title": "made"}, `"made"`)
}

// asked is a request at the forge as recordingForge notes it.
type asked struct{ method, path, body string }

func parseAsked(request string) asked {
	f := strings.SplitN(request, " ", 5)
	path, _, _ := strings.Cut(f[1], "?")
	return asked{f[0], path, f[len(f)-1]}
}

func (a asked) reads() bool { return a.method == "GET" || a.method == "HEAD" }

// concern is what a request is about, as this test reads it.
type concern struct {
	repos, owners []string
	several       bool
}

var (
	ofRepo    = regexp.MustCompile(`^/api/v1/repos/([^/]+)/([^/]+)(/.*)?$`)
	ofOwner   = regexp.MustCompile(`^/api/v1/(?:orgs?|users)/([^/]+)(/.*)?$`)
	ofNobody  = regexp.MustCompile(`^/api/v1/(user|settings/\w+)$`)
	elsewhere = regexp.MustCompile(`^/issues/\d+/(dependencies|blocks|timeline)$|^/forks$`)
)

// concerns reads a request without the table.
func (a asked) concerns(t *testing.T) (c concern) {
	t.Helper()
	var body struct{ Owner, Repo, Name, Organization, Username, Head string }
	if strings.HasPrefix(a.body, "{") {
		if err := json.Unmarshal([]byte(a.body), &body); err != nil && !strings.HasPrefix(a.path, "/api/v1/repos/alice/hello/hooks") {
			body.Head = ""
		}
	}
	if m := ofRepo.FindStringSubmatch(a.path); m != nil && a.path != "/api/v1/repos/issues/search" {
		c.repos = []string{m[1] + "/" + m[2]}
		switch {
		case elsewhere.MatchString(m[3]) && a.reads():
			c.several = true
		case m[3] == "/forks" && body.Organization == "":
			c.several = true
		case m[3] == "/forks":
			c.owners, c.repos = []string{body.Organization}, append(c.repos, body.Organization+"/"+body.Name)
		case elsewhere.MatchString(m[3]):
			c.repos = append(c.repos, body.Owner+"/"+body.Repo)
		}
		if strings.Contains(body.Head, ":") {
			t.Fatalf("%+v: the test does not know of heads elsewhere", a)
		}
		return c
	}
	if m := ofOwner.FindStringSubmatch(a.path); m != nil && m[1] != "search" && !strings.HasSuffix(a.path, "/orgs") {
		switch {
		case m[2] == "/repos" && a.reads():
			c.repos = []string{m[1] + "/*"}
		case m[2] == "/repos":
			c.owners, c.repos = []string{m[1]}, []string{m[1] + "/" + body.Name}
		case a.method == "DELETE" && m[2] == "":
			c.owners, c.repos = []string{m[1]}, []string{m[1] + "/*"}
		default:
			c.owners = []string{m[1]}
		}
		return c
	}
	if a.path == "/api/v1/orgs" && a.method == "POST" {
		return concern{owners: []string{body.Username}}
	}
	return concern{several: !ofNobody.MatchString(a.path)}
}

// patterns are the table's paths as regular expressions, with how many variables each has.
var patterns = func() (all []struct {
	forgeapi.Route
	*regexp.Regexp
}) {
	variable := regexp.MustCompile(`\\\{[^/]*\\\}`)
	for _, r := range forgeapi.Routes() {
		expr := variable.ReplaceAllStringFunc(regexp.QuoteMeta(r.Path), func(p string) string {
			if strings.HasSuffix(p, `\.\.\.\}`) {
				return ".+"
			}
			return "[^/]+"
		})
		all = append(all, struct {
			forgeapi.Route
			*regexp.Regexp
		}{r, regexp.MustCompile("^" + expr + "/?$")})
	}
	return all
}()

// users are the tools that the table names for the request, by its route with the fewest
// variables.
func (a asked) users() []string {
	var tools []string
	fewest := 100
	for _, p := range patterns {
		if n := strings.Count(p.Path, "{"); p.Method == a.method && p.MatchString(a.path) && n <= fewest {
			if n < fewest {
				tools = nil
			}
			fewest, tools = n, append(tools, p.Tools...)
		}
	}
	return tools
}

var toolsetOf = func() map[string]string {
	m := map[string]string{}
	for _, tool := range forgeapi.AllTools() {
		m[tool.Name] = tool.Toolset
	}
	return m
}()

// policied is a session of the real forgejo-mcp whose broker confirms all refusals.
type policied struct {
	t     *testing.T
	r     *running
	s     *mcp.ClientSession
	tools []*mcp.Tool
	forge *recordingForge
	acks  chan control.Message
}

const someToken = "0123456789abcdef0123456789abcdef01234567"

func startPolicied(t *testing.T) *policied {
	backend := os.Getenv("FJMCP_TEST_FORGEJO_MCP")
	if backend == "" {
		t.Skip("SKIP: set FJMCP_TEST_FORGEJO_MCP to a forgejo-mcp binary to run this")
	}
	p := &policied{t: t, forge: &recordingForge{}, acks: make(chan control.Message, 1)}
	p.r = start(t, someToken, environment(serveHTTP(t, p.forge), backend)...)
	p.r.want(control.TypeReady)
	go func() {
		for {
			m, err := p.r.control.Receive(t.Context())
			switch {
			case err != nil:
				return
			case m.Type == control.TypeAck && m.ID != firstID:
				p.acks <- m
			case m.Type == control.TypeRefused:
				p.r.control.Send(t.Context(), control.Message{Type: control.TypeAck, ID: m.ID})
			}
		}
	}()
	p.limit(nil)
	p.s = p.r.connect()
	p.tools = everyTool(t, p.s)
	return p
}

func (p *policied) limit(l policy.Limits) {
	p.t.Helper()
	m := control.Message{Type: control.TypeMode, ID: "limits", Mode: control.ModeReadWrite}
	if l != nil {
		m.Limits = l.JSON()
	}
	if err := p.r.control.Send(p.t.Context(), m); err != nil {
		p.t.Fatal(err)
	}
	if ack := <-p.acks; ack.Key != l.Key() {
		p.t.Fatalf("%q is in force", ack.Key)
	}
}

func (p *policied) run(which func(string) bool) map[string]done {
	p.t.Helper()
	return runTools(p.t, p.s, p.tools, p.forge, someToken, which)
}

// hold runs tools under limits. What reaches the forge is what allowed says, never more, and
// a tool of which everything is allowed asks for the same as without limits. It returns how
// many runs of tools did so.
func (p *policied) hold(name string, want map[string]done, l policy.Limits, which func(string) bool, allowed func(asked) bool) (whole int) {
	p.t.Helper()
	p.limit(l)
	for run, got := range p.run(which) {
		free := true
		for _, request := range want[run].requests {
			free = free && allowed(parseAsked(request))
		}
		for _, request := range got.requests {
			if !allowed(parseAsked(request)) {
				p.t.Errorf("%s: %s reached the forge with %s", name, run, request)
			}
		}
		if free {
			whole++
			if fmt.Sprint(got) != fmt.Sprint(want[run]) {
				p.t.Errorf("%s: %s did\n%q, want\n%q", name, run, got, want[run])
			}
		} else if len(got.requests) >= len(want[run].requests) {
			p.t.Errorf("%s: %s asked for as much as without limits: %q", name, run, got.requests)
		}
	}
	return whole
}

func granting(c policy.Cover) policy.Limits { return policy.Limits{{Grants: []policy.Cover{c}}} }

func denying(c policy.Cover) policy.Limits {
	c.Rule = "no"
	return policy.Limits{{Grants: []policy.Cover{{}}, Denials: []policy.Cover{c}}}
}

// With each kind of rule, each tool of the real forgejo-mcp reaches what is allowed.
func TestRealToolsUnderThePolicy(t *testing.T) {
	p := startPolicied(t)
	p.run(all) // what it asks only once
	want := p.run(all)

	t.Run("access", func(t *testing.T) {
		for name, l := range map[string]policy.Limits{"read": granting(policy.Cover{ReadOnly: true}), "no writes": denying(policy.Cover{WritesOnly: true})} {
			if n := p.hold(name, want, l, all, asked.reads); n < 100 {
				t.Errorf("%s: only %d runs did their work", name, n)
			}
		}
		p.hold("nothing", want, policy.Nothing, all, func(asked) bool { return false })
	})
	t.Run("toolsets", func(t *testing.T) {
		for _, set := range forgeapi.Toolsets() {
			in := func(tool string) bool { return toolsetOf[tool] == set }
			out := func(tool string) bool { return !in(tool) }
			if p.hold(set, want, granting(policy.Cover{Toolsets: []string{set}}), all, func(a asked) bool { return slices.ContainsFunc(a.users(), in) }) < 2 {
				t.Errorf("no tool of %s did its work", set)
			}
			p.hold("no "+set, want, denying(policy.Cover{Toolsets: []string{set}}), in, func(a asked) bool { return slices.ContainsFunc(a.users(), out) })
		}
	})
	t.Run("tools", func(t *testing.T) {
		for _, tool := range forgeapi.AllTools() {
			is := func(name string) bool { return name == tool.Name }
			other := func(name string) bool { return !is(name) }
			p.hold("only "+tool.Name, want, granting(policy.Cover{Tools: []string{tool.Name}}), is, func(a asked) bool { return slices.ContainsFunc(a.users(), is) })
			p.hold("no "+tool.Name, want, denying(policy.Cover{Tools: []string{tool.Name}}), is, func(a asked) bool { return slices.ContainsFunc(a.users(), other) })
		}
	})
	t.Run("repositories and owners", func(t *testing.T) {
		places := []struct {
			cover policy.Cover
			least int // runs that do their work where it is granted
		}{
			{policy.Cover{Repositories: []string{"alice/hello"}}, 180},
			{policy.Cover{Repositories: []string{"other/*", "alice/hell"}}, 2},
			{policy.Cover{Owners: []string{"alice"}}, 180},
			{policy.Cover{Owners: []string{"acme"}}, 10},
			{policy.Cover{Owners: []string{"acme", "alice"}}, 190},
		}
		for _, place := range places {
			c := place.cover
			covers := func(repo string) bool {
				owner, _, _ := strings.Cut(repo, "/")
				return slices.Contains(c.Owners, owner) || slices.Contains(c.Repositories, repo)
			}
			name := fmt.Sprint(c.Repositories, c.Owners)
			n := p.hold(name, want, granting(c), all, func(a asked) bool {
				about := a.concerns(t)
				return !about.several && !slices.ContainsFunc(about.repos, func(r string) bool { return !covers(r) }) && !slices.ContainsFunc(about.owners, func(o string) bool { return !slices.Contains(c.Owners, o) })
			})
			if n < place.least {
				t.Errorf("%s: only %d runs did their work", name, n)
			}
			p.hold("not "+name, want, denying(c), all, func(a asked) bool {
				about := a.concerns(t)
				return !about.several && !slices.ContainsFunc(about.repos, func(r string) bool {
					owner, some := strings.CutSuffix(r, "/*")
					return covers(r) || some && slices.ContainsFunc(c.Repositories, func(c string) bool { return strings.HasPrefix(c, owner+"/") })
				}) && !slices.ContainsFunc(about.owners, func(o string) bool { return slices.Contains(c.Owners, o) })
			})
		}
	})
}
