package policy

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
)

func TestParseLimits(t *testing.T) {
	for _, l := range []Limits{{}, Nothing, {{Grants: []Cover{{ReadOnly: true, Tools: []string{"x"}}}}, {Denials: []Cover{{Rule: "no", Owners: []string{"acme"}}}}}} {
		got, err := ParseLimits(l.JSON())
		if err != nil || got.Key() != l.Key() || !reflect.DeepEqual(got, l) {
			t.Errorf("%s comes as %+v, %v", l.JSON(), got, err)
		}
	}
	if got, err := ParseLimits(Limits(nil).JSON()); err != nil || len(got) != 0 {
		t.Errorf("no policy comes as %+v, %v", got, err)
	}
	for _, text := range []string{
		"", "null", "{}", `"x"`, "7", "[", "[{}", "[7]", "[[]]", "[{}]{}", "[{}],", "[]]", `[{"grant":[]}]`, `[{"grants":[{"until":"x"}]}]`, `[{"grants":[{"tools":"x"}]}]`,
		`[{"denials":[{"rule":"x","paths":["y"]}]}]`, "[" + strings.Repeat(" ", MaxWire) + "]", "\xff",
	} {
		if l, err := ParseLimits([]byte(text)); err == nil || l != nil {
			t.Errorf("%.40q is read as %+v", text, l)
		}
	}
}

func TestTwoRightsFitOnTheWire(t *testing.T) {
	full := Rights{Grants: []Cover{{Owners: []string{strings.Repeat("x", MaxBytes-64)}}}}
	if text := (Limits{full, full}).JSON(); len(text) > MaxWire || bytes.Contains(text, []byte("null")) {
		t.Errorf("two take %d bytes of %d", len(text), MaxWire)
	}
}

func TestPlaced(t *testing.T) {
	for want, all := range map[bool][]Limits{
		false: {nil, Nothing, {{Grants: []Cover{{}}, Denials: []Cover{{Tools: []string{"x"}}}}}},
		true:  {{{}, {Grants: []Cover{{}, {Repositories: []string{"a/b"}}}}}, {{Denials: []Cover{{Owners: []string{"a"}}}}}},
	} {
		for _, l := range all {
			if l.Placed() != want {
				t.Errorf("%+v: not %v", l, want)
			}
		}
	}
}

// owner/* is some repository of that owner: all of them have to be granted, and none denied.
func TestSomeRepositoryOfAnOwner(t *testing.T) {
	for _, tt := range []struct {
		grant, deny Cover
		want        bool
	}{
		{Cover{}, Cover{Tools: []string{"other"}}, true},
		{Cover{Owners: []string{"acme"}}, Cover{Owners: []string{"other"}}, true},
		{Cover{Repositories: []string{"acme/*"}}, Cover{Repositories: []string{"other/x"}}, true},
		{Cover{Repositories: []string{"acme/site"}}, Cover{Owners: []string{"other"}}, false},
		{Cover{Repositories: []string{"acme/s*"}}, Cover{Owners: []string{"other"}}, false},
		{Cover{Owners: []string{"other"}}, Cover{Owners: []string{"third"}}, false},
		{Cover{}, Cover{Owners: []string{"acme"}}, false},
		{Cover{}, Cover{Repositories: []string{"acme/secret"}}, false},
		{Cover{}, Cover{Repositories: []string{"acme/s*"}}, false},
		{Cover{}, Cover{Repositories: []string{"acmes/x"}}, true},
	} {
		l := Limits{{Grants: []Cover{tt.grant}, Denials: []Cover{tt.deny}}}
		q := Request{Routes: []forgeapi.Route{{Tools: []string{"list_branches"}}}, Repositories: []string{"acme/" + forgeapi.AnyOf}}
		if got := l.Request(q).Allowed; got != tt.want {
			t.Errorf("%s: got %v", fmt.Sprintf("%+v", l), got)
		}
	}
}
