package forgeproxy

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
)

// admits reports whether a request for the route passes under limits.
func admits(t *testing.T, r forgeapi.Route, path string, l policy.Limits) bool {
	t.Helper()
	f, err := newForce(control.ModeReadWrite, l.JSON())
	if err != nil {
		t.Fatal(err)
	}
	s := &rules{policy: everything(t)}
	s.force.Store(f)
	in, err := http.NewRequest(r.Method, "http://forge"+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	err = s.admit(in, path)
	var why *refusal
	if err != nil && (!errors.As(err, &why) || why.reason != control.ReasonPolicy) {
		t.Fatalf("%s %s: %v", r.Method, path, err)
	}
	return err == nil
}

// Each route of the table passes for the tools that it names, and for no other; nothing writes
// for who may read, and nothing passes for who may do nothing.
func TestTableUnderThePolicy(t *testing.T) {
	parameter := strings.NewReplacer("{filepath...}", "docs/x", "{", "", "...}", "-1", "}", "-1")
	for _, r := range forgeapi.Routes() {
		path := parameter.Replace(r.Path)
		d, err := everything(t).Decide(r.Method, path)
		if err != nil {
			t.Fatal(err)
		}
		start := r.Path == versionPath && r.Method == http.MethodGet
		for name, want := range map[string]bool{"read": r.Method == http.MethodGet, "nothing": false, "all": true} {
			l := map[string]policy.Limits{"read": {{Grants: []policy.Cover{{ReadOnly: true}}}}, "nothing": policy.Nothing, "all": {{Grants: []policy.Cover{{}}}}}[name]
			if admits(t, r, path, l) != want {
				t.Errorf("%s %s: with %s not %v", r.Method, path, name, want)
			}
		}
		for _, tool := range forgeapi.AllTools() {
			without := func(is func(string) bool) bool { // one of the routes is no such tool's
				return slices.ContainsFunc(d.Routes(), func(r forgeapi.Route) bool { return !slices.ContainsFunc(r.Tools, is) })
			}
			only := !without(func(name string) bool { return name == tool.Name })
			others := !without(func(name string) bool { return name != tool.Name })
			granted, denied := policy.Cover{Tools: []string{tool.Name}}, policy.Cover{Rule: "no", Tools: []string{tool.Name}}
			if admits(t, r, path, policy.Limits{{Grants: []policy.Cover{granted}}}) != (only || start) {
				t.Errorf("%s %s: with %s alone not %v", r.Method, path, tool.Name, only)
			}
			if admits(t, r, path, policy.Limits{{Grants: []policy.Cover{{}}, Denials: []policy.Cover{denied}}}) != (others || start) {
				t.Errorf("%s %s: without %s not %v", r.Method, path, tool.Name, others)
			}
		}
	}
}

// A route that says it is about one repository passes where that one is granted, and nowhere
// else; all that says something else does not pass for a repository.
func TestTableByRepository(t *testing.T) {
	parameter := strings.NewReplacer("{owner}", "acme", "{repo}", "site", "{filepath...}", "docs/x", "{", "", "...}", "-1", "}", "-1")
	passes := 0
	for _, r := range forgeapi.Routes() {
		path := parameter.Replace(r.Path)
		words := strings.Fields(r.Names)
		one := slices.Equal(words, []string{"repo"}) || slices.Contains(words, "path:head")
		none := slices.Equal(words, []string{"none"})
		if admits(t, r, path, policy.Limits{{Grants: []policy.Cover{{Repositories: []string{"acme/site"}}}}}) != (one || none) && !strings.Contains(r.Names, "body:") {
			t.Errorf("%s %s, %q: with acme/site not %v", r.Method, path, r.Names, one || none)
		}
		if admits(t, r, path, policy.Limits{{Grants: []policy.Cover{{Repositories: []string{"acme/other", "acme/site-1"}}}}}) != none {
			t.Errorf("%s %s, %q: with others not %v", r.Method, path, r.Names, none)
		}
		if one {
			passes++
		}
	}
	if passes < 200 {
		t.Errorf("only %d routes are about one repository", passes)
	}
}
