package policy

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

const example = `# comment
[[grant]]
name          = "staff"
users         = ["Alice", "bob#7"] # comment
organizations = ["acme", "other#12"]
teams         = ["acme/developers", 'acme/readers#4']
administrators = true
access        = "read"
toolsets      = ["issues"]
tools         = [
  "get_file_content",
  "forgejo://repo/{owner}/{repo}", # with a comma at the end
]
repositories  = ["acme/Site", "acme/docs-*"]
owners        = ["acme"]

[[deny]]
name = "no-deletes"
everyone = true
access = "write"
`

func TestParse(t *testing.T) {
	want := &Document{Rules: []Rule{{
		Name: "staff", Line: 2,
		Users:          []Name{{"alice", 0}, {"bob", 7}},
		Organizations:  []Name{{"acme", 0}, {"other", 12}},
		Teams:          []Name{{"acme/developers", 0}, {"acme/readers", 4}},
		Administrators: true, ReadOnly: true,
		Toolsets:     []string{"issues"},
		Tools:        []string{"get_file_content", "forgejo://repo/{owner}/{repo}"},
		Repositories: []string{"acme/site", "acme/docs-*"},
		Owners:       []string{"acme"},
	}, {Name: "no-deletes", Line: 17, Deny: true, Everyone: true, WritesOnly: true}}}
	for name, text := range map[string]string{
		"plain":           example,
		"byte order mark": "\uFEFF" + example,
		"CRLF":            strings.ReplaceAll(example, "\n", "\r\n"),
	} {
		got, err := Parse([]byte(text))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
		}
	}
}

// TestEveryFaultIsTold has all faults in one file, and in the comment at the end of each
// line what must be told of it.
func TestEveryFaultIsTold(t *testing.T) {
	const file = `name = "x"                  #! "name" stands before the first rule
[[grant]]                       #! the rule has no name; the grant has no access; the grant is for nobody
[[grant]]
name = "Staff"                  #! name: "Staff" is no rule's name
name = "staff"                  #! "name" stands on line 4 already
user = ["alice"]                #! there is no key "user": is "users" meant?
everyone = "true"               #! everyone: want true or false without quotes, got a text
access = "readwrite"            #! access: want "read" or "write", got "readwrite"
toolsets = "issues"             #! toolsets: want a list of texts such as ["one"], got a text
tools = [1, "get_file_contents"]#! tools: want a text in quotes, got a number; tools: there is no tool or resource template "get_file_contents": is "get_file_content" meant?
users = []                      #! users: the list is empty
repositories = [
  "acme/site",
  "acme",                       #! repositories: "acme" is no repository
  "*",                          #! "*" is no repository
  "*/site",                     #! is no repository
  "acme/..",                    #! is no repository
  "acme/a/b",                   #! is no repository
  "acme/site.git",              #! without .git
  "acme/a**",                   #! write one *
  "ACME/Site",                  #! is in the list already
]
owners = ["acme/site", "münchen", "..", "acme"] #! owners: "acme/site" is no owner; owners: "münchen" is no owner; owners: ".." is no owner
x.y = 1                         #! there is no key "x.y"
[[grant]]
name = "two"
everyone = true                 #! everyone and users, administrators contradict each other
users = ["bob#0", "bob#-1", "bob#07", "bob#9223372036854775808", "bob#", "bob#7#8", "a b", "carol#5"] #! "bob#0" pins no id; "bob#-1" pins no id; "bob#07" pins no id; pins no id; "bob#" pins no id; pins no id; "a b" is no login name
administrators = true
access = "read"
tools = ["create_issue"]        #! create_issue changes something
[[deny]]                        #! the denial is for nobody
name = "three"
everyone = false
access = "read"                 #! access: want "write"
[[deny]]
name = "two"                    #! the rule on line 25 has the name "two" already
users = ["Carol#6"]             #! carol is pinned to 6 here and to 5 on line 28
teams = ["acme/x"]              #! teams: nobody is denied by what they are a member of
administrators = false          #! administrators: nobody is denied
access = "write"
tools = ["list_branches"]       #! list_branches changes nothing
[[deny]]
name = "four"
users = ["dave"
access = "write"                #! expected
toolsets = ["issue"]            #! there is no toolset "issue": is "issues" meant?
owners = [ = ]                  #! unexpected
[grant]                         #! [grant] has single brackets
ignored = 1
[[rule]]                        #! "rule" is no rule
ignored = 1
[[grant                         #! expected
ignored = 1
[[grant]]
name = "five"
teams = ["acme", "acme/", "/x", "a/b/c", "acme/.."] #! "acme" is no team; "acme/" is no team; "/x" is no team; "a/b/c" is no team; "acme/.." is no team
organizations = [true, "acme/x"]#! want a text in quotes, got true or false; "acme/x" is no organization
access = 'write'
name = "six` // which is not closed
	var want [][2]string
	for i, line := range strings.Split(file, "\n") {
		if _, told, ok := strings.Cut(line, "#! "); ok {
			for _, one := range strings.Split(told, "; ") {
				want = append(want, [2]string{"line " + strconv.Itoa(i+1) + ": ", one})
			}
		}
	}
	want = append(want, [2]string{"line " + strconv.Itoa(strings.Count(file, "\n")+1) + ": ", "unterminated"})
	_, err := Parse([]byte(file))
	var faults *Error
	if !errors.As(err, &faults) {
		t.Fatal(err)
	}
	for i := range max(len(want), len(faults.Faults)) {
		switch {
		case i >= len(want):
			t.Errorf("besides: %s", faults.Faults[i])
		case i >= len(faults.Faults):
			t.Errorf("missing: %s", want[i])
		case !strings.HasPrefix(faults.Faults[i], want[i][0]) || !strings.Contains(faults.Faults[i], want[i][1]):
			t.Errorf("got %s, want %s", faults.Faults[i], want[i])
		}
	}
}
