package attack

import (
	"encoding/json"
	"net/http"
	"strings"
)

// fence is the policy under which a child tries to reach what it may not.
const fence = `[[grant]]
name = "fence"
everyone = true
access = "write"
repositories = ["attack/a"]

[[deny]]
name = "no-wiki"
everyone = true
toolsets = ["wiki"]
`

// fenced is a session under the fence, made upon the first attack that needs it.
func (w *world) fenced() {
	if w.limited != nil {
		return
	}
	w.must(w.s.C.WriteFile("/etc/fjmcp/policy.toml", []byte(fence), 0o644))
	w.run("systemctl restart fjmcp-broker.service")
	w.limited = w.connect("bob", "")
}

// lifted is without the policy again.
func (w *world) lifted() {
	w.run("rm -f /etc/fjmcp/policy.toml; systemctl restart fjmcp-broker.service")
	w.whoami(w.alice)
	w.whoami(w.bob)
	w.whoami(w.reader)
	w.lookAround()
}

const fencedIn = repository + "a"

// overTheFence are ways to another repository, or to another tool's routes.
var overTheFence = map[string]struct{ method, path, body string }{
	"another repository":               {"GET", repository + "b", ""},
	"another repository's file":        {"GET", repository + "b/contents/attack/a", ""},
	"one whose name begins alike":      {"GET", repository + "ab", ""},
	"one by a dot more":                {"GET", repository + "a./contents/x", ""},
	"one by an odd letter":             {"GET", repository + "%C3%A0", ""},
	"one by a long s":                  {"GET", "/api/v1/repos/attac%E2%84%AA/a", ""},
	"one by dot segments":              {"GET", fencedIn + "/../b", ""},
	"one by escaped dot segments":      {"GET", fencedIn + "/%2e%2e/b", ""},
	"one by an escaped slash":          {"GET", "/api/v1/repos/attack%2Fb/issues", ""},
	"one outside the API":              {"GET", "/attack/b/raw/branch/main/x", ""},
	"its archive":                      {"GET", "/attack/b/archive/main.zip", ""},
	"its wiki":                         {"GET", "/attack/b.wiki/raw/x", ""},
	"a repository by id":               {"GET", "/api/v1/repositories/1", ""},
	"an attachment by uuid":            {"GET", "/attachments/0-0", ""},
	"an attachment behind an allowed":  {"GET", "/attack/a/attachments/0-0", ""},
	"all repositories":                 {"GET", "/api/v1/user/repos", ""},
	"all issues":                       {"GET", "/api/v1/repos/issues/search?owner=attack", ""},
	"all notifications":                {"GET", "/api/v1/notifications", ""},
	"an owner":                         {"GET", "/api/v1/orgs/attack", ""},
	"packages":                         {"GET", "/api/v1/packages/attack", ""},
	"a timeline":                       {"GET", fencedIn + "/issues/1/timeline", ""},
	"forks":                            {"GET", fencedIn + "/forks", ""},
	"a comparison with a fork":         {"GET", fencedIn + "/compare/main...bob:x", ""},
	"a comparison with another":        {"GET", fencedIn + "/compare/main...attack/b:x", ""},
	"a pull request of a fork":         {"POST", fencedIn + "/pulls", `{"head":"bob:x","base":"main","title":"x"}`},
	"a pull request by an odd case":    {"POST", fencedIn + "/pulls", `{"HEAD":"attack/b:x","base":"main","title":"x"}`},
	"a pull request by an escape":      {"POST", fencedIn + "/pulls", `{"\u0068ead":"attack/b:x","base":"main","title":"x"}`},
	"a pull request said twice":        {"POST", fencedIn + "/pulls", `{"head":"x","head":"attack/b:x","base":"main","title":"x"}`},
	"a pull request after an object":   {"POST", fencedIn + "/pulls", `{"head":"x"}{"head":"attack/b:x"}`},
	"a pull request in the query":      {"POST", fencedIn + "/pulls?head=attack%2Fb:x", `{"base":"main","title":"x"}`},
	"a dependency elsewhere":           {"POST", fencedIn + "/issues/1/dependencies", `{"index":1,"owner":"attack","repo":"b"}`},
	"a dependency in the query":        {"DELETE", fencedIn + "/issues/1/dependencies?owner=attack&name=b&index=1", ""},
	"a fork to oneself":                {"POST", fencedIn + "/forks", `{}`},
	"a fork to another owner":          {"POST", fencedIn + "/forks", `{"organization":"attack","name":"a"}`},
	"a new repository":                 {"POST", "/api/v1/user/repos", `{"name":"a"}`},
	"a denied toolset":                 {"GET", fencedIn + "/wiki/pages", ""},
	"a change in a denied toolset":     {"POST", fencedIn + "/wiki/new", `{"title":"x"}`},
	"a route that no tool uses":        {"GET", fencedIn + "/topics", ""},
	"a write to all that is not there": {"PUT", "/api/v1/notifications", "{}"},
}

func childPolicy() (all []attack) {
	all = append(all, attack{who: "C", name: "under the policy: stay within the fence", right: "at the forge", out: func(w *world) result {
		w.fenced()
		mark := w.forge.mark()
		in := w.send(w.limited, request("GET", fencedIn, ""))
		arrived := w.forge.since(mark)
		return verdict(in.Status == http.StatusOK && len(arrived) == 1, "%d, %d arrived", in.Status, len(arrived))
	}})
	for _, name := range sorted(overTheFence) {
		r := overTheFence[name]
		all = append(all, attack{who: "C", name: "under the policy: ask for " + name, right: "nothing at the forge, and a word why", out: func(w *world) result {
			w.fenced()
			var headers []string
			if json.Valid([]byte(r.body)) || strings.HasPrefix(r.body, "{") {
				headers = []string{"Content-Type: application/json"}
			}
			mark := w.forge.mark()
			in := w.send(w.limited, request(r.method, r.path, r.body, headers...))
			if arrived := w.forge.since(mark); len(arrived) > 0 {
				return verdict(false, "%s %s %q at the forge", arrived[0].Method, arrived[0].URI, arrived[0].Body)
			}
			return verdict(in.Status == http.StatusForbidden && len(in.Raw) > 0, "%d %s", in.Status, in.Err)
		}})
	}
	return append(all, attack{who: "C", name: "under the policy: work on after it is gone", right: "served", out: func(w *world) result {
		w.fenced()
		w.lifted()
		return verdict(true, "served")
	}})
}
