package policy

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
)

var faultLine = regexp.MustCompile(`^line ([0-9]+): [^\n\x1b]+$`)

// FuzzParse: a file has either faults, each on one of its lines, or rules that mean
// something.
func FuzzParse(f *testing.F) {
	for _, text := range []string{example, explained, "", "[[grant]]\nname = \"\"\"\n", "[[grant]]\nusers = [\"a\",\n\n", "a = {b = [1, {}]}\n[x.y]\n[[deny]]\n\"\\u001b\" = 1", "\uFEFF[[grant]]\r\nname='a'\r\neveryone=true\r\naccess='read'"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		doc, err := Parse(text)
		if err != nil {
			checkFaults(t, text, err)
			return
		}
		names, grants := map[string]bool{}, 0
		for _, r := range doc.Rules {
			if names[r.Name] || !isRule(r.Name) || len(r.subjects()) == 0 && !r.Everyone && !r.Administrators ||
				r.Deny && (r.ReadOnly || r.Administrators || len(r.Organizations)+len(r.Teams) > 0) || !r.Deny && r.WritesOnly {
				t.Errorf("%+v means nothing", r)
			}
			names[r.Name] = true
			if !r.Deny {
				grants++
			}
		}
		if grants == 0 {
			t.Error("nobody may do anything")
		}
		if other, err := Parse(bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))); err != nil || !reflect.DeepEqual(doc, other) {
			t.Errorf("with CRLF: got %+v (%v), want %+v", other, err, doc)
		}
	})
}

func checkFaults(t *testing.T, text []byte, err error) {
	t.Helper()
	var faults *Error
	if !errors.As(err, &faults) || len(faults.Faults) == 0 {
		t.Fatalf("%v tells nothing", err)
	}
	for _, fault := range faults.Faults {
		m := faultLine.FindStringSubmatch(fault)
		if m == nil {
			t.Fatalf("%q has no line or several", fault)
		}
		if n, _ := strconv.Atoi(m[1]); n < 1 || n > 1+bytes.Count(text, []byte("\n")) {
			t.Errorf("%q: there is no such line", fault)
		}
	}
}

// FuzzRequest holds what a request names against the definition.
func FuzzRequest(f *testing.F) {
	doc, err := Parse([]byte(explained + "[[grant]]\nname = \"patterns\"\nusers = [\"dave#9\"]\naccess = \"write\"\nrepositories = [\"acme/a*b*c\", \"acme/*-x\", \"other/*\"]\n[[deny]]\nname = \"no-b\"\nusers = [\"dave#9\"]\nrepositories = [\"other/b*\"]\n"))
	if err != nil {
		f.Fatal(err)
	}
	rules := doc.Compile(ids)
	for _, name := range []string{"acme/site", "ACME/abc", "acme/aXbXc", "acme/a-x", "other/../acme/x", "other/", "/x", "a/b/c", "", "*/*", "other/b", "acme/İ", "K/x"} {
		f.Add(name, name, true, false, 0)
		f.Add(name, "acme", false, true, 1)
	}
	f.Fuzz(func(t *testing.T, repo, owner string, write, several bool, tool int) {
		q := Request{Write: write, Across: several, Routes: []forgeapi.Route{{}}}
		if repo != "" {
			q.Repositories = []string{repo}
		}
		if owner != "" {
			q.Owners = []string{owner}
		}
		if tool = tool % (len(ruleTools) + 1); tool > 0 {
			q.Routes[0].Tools = ruleTools[tool-1 : tool]
		}
		told := q
		if strings.Count(repo, "/") != 1 || strings.HasPrefix(repo, "/") || strings.HasSuffix(repo, "/") {
			told.Repositories, told.Across = nil, q.Across || repo != "" // the definition knows owner/name only
		}
		for _, m := range []Member{{ID: 1}, {ID: 9}, {ID: 2, Known: true, Teams: []int64{1}}} {
			rights, err := rules.For(m)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := (Limits{rights}).Request(q), (naive{doc.Rules, m}).allows(told); got.Allowed != want {
				t.Errorf("%+v of %d: got %+v, want %v", q, m.ID, got, want)
			}
		}
	})
}

// large is a policy of n rules, each for one user but two, which are for all.
func large(n int) string {
	var b strings.Builder
	b.WriteString("[[grant]]\nname = \"all\"\neveryone = true\naccess = \"read\"\n[[deny]]\nname = \"no-wiki\"\neveryone = true\ntoolsets = [\"wiki\"]\n")
	for i := range n - 2 {
		fmt.Fprintf(&b, "[[grant]]\nname = \"r%d\"\nusers = [\"u%d#%d\"]\naccess = \"write\"\nowners = [\"u\"]\n", i, i+1, i+1)
	}
	return b.String()
}
