package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
)

func entries(n, length int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("%q", "acme/"+fmt.Sprintf("%0*d", length, i)))
	}
	return strings.Join(all, ",")
}

// TestBounds tries what just fits, and what does not and is told so.
func TestBounds(t *testing.T) {
	grant := func(name, rest string) string {
		return "[[grant]]\nname = \"" + name + "\"\naccess = \"read\"\n" + rest + "\n"
	}
	for _, c := range []struct{ name, fits, exceeds, want string }{
		{"entries", grant("a", "everyone = true\nrepositories = ["+entries(1000, 4)+"]"), grant("a", "everyone = true\nrepositories = ["+entries(1001, 4)+"]"), "line 5: repositories: the list has 1001 entries"},
		{"bytes of a rule", grant("a", "users = [\"a\"]\nrepositories = ["+entries(470, 95)+"]"), grant("a", "users = [\"a\"]\nrepositories = ["+entries(480, 95)+"]"), "line 1: the rule takes"},
		{"bytes for everyone", grant("a", "everyone = true\nrepositories = ["+entries(400, 95)+"]"),
			grant("a", "everyone = true\nrepositories = ["+entries(400, 95)+"]") + grant("b", "everyone = true\nrepositories = ["+strings.ReplaceAll(entries(400, 95), "acme", "other")+"]"), "line 1: the rules for everyone take"},
		{"rules", large(10_000), large(10_001), "line 49999: there are more than 10000 rules"},
		{"bytes of a file", large(3) + strings.Repeat("#", MaxFile-len(large(3))), large(3) + strings.Repeat("#", MaxFile+1-len(large(3))), "line 1: the file has 1048577 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Parse([]byte(c.fits)); err != nil {
				t.Errorf("what fits: %v", err)
			}
			if _, err := Parse([]byte(c.exceeds)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestRightsThatDoNotFit: each rule does, what one user has of them does not.
func TestRightsThatDoNotFit(t *testing.T) {
	d := &Document{}
	for i := range 10 {
		r := Rule{Name: fmt.Sprint("r", i), Users: []Name{{"alice", 7}}}
		for j := range 60 {
			r.Repositories = append(r.Repositories, fmt.Sprintf("acme/%d-%0*d", i, 80, j))
		}
		d.Rules = append(d.Rules, r)
	}
	rights, err := d.Compile(nil).For(Member{ID: 7})
	if err == nil || (Limits{rights}).Connect().Allowed {
		t.Errorf("got %d bytes of rights, error %v", rights.size(), err)
	}
	if _, err := d.Compile(nil).Explain(Member{ID: 7}, Question{}); err == nil {
		t.Error("they are explained")
	}
	d.Rules = d.Rules[:9]
	if rights, err := d.Compile(nil).For(Member{ID: 7}); err != nil || len(rights.Grants) != 1 || rights.size() > MaxBytes {
		t.Errorf("what fits: got %d grants of %d bytes, %v", len(rights.Grants), rights.size(), err)
	}
}

// BenchmarkFor is what a user's rights cost with few rules and with many.
func BenchmarkFor(b *testing.B) {
	for _, n := range []int{3, 10_000} {
		doc, err := Parse([]byte(large(n)))
		if err != nil {
			b.Fatal(err)
		}
		rules := doc.Compile(nil)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rules.For(Member{ID: 1}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkForMany is what one user's rights cost who has 1,000 rules of their own.
func BenchmarkForMany(b *testing.B) {
	d := &Document{}
	for i := range 1000 {
		d.Rules = append(d.Rules, Rule{Users: []Name{{"alice", 7}}, Repositories: []string{fmt.Sprint("acme/", i)}})
	}
	rules := d.Compile(nil)
	for b.Loop() {
		if _, err := rules.For(Member{ID: 7}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoad is what reading and indexing a file costs.
func BenchmarkLoad(b *testing.B) {
	text := []byte(large(10_000))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		doc, err := Parse(text)
		if err != nil {
			b.Fatal(err)
		}
		doc.Compile(nil)
	}
}

// BenchmarkRequest is a call's part of a policy: no limits, a few, and many repositories.
func BenchmarkRequest(b *testing.B) {
	q := Request{Write: true, Repositories: []string{"acme/site"}, Routes: []forgeapi.Route{{Tools: []string{"create_issue"}}}}
	var many []string
	for i := range 999 {
		many = append(many, fmt.Sprintf("acme/repository-%d", i))
	}
	few := Rights{Grants: []Cover{{ReadOnly: true}, {Toolsets: []string{"issues"}, Repositories: []string{"acme/s*"}}}, Denials: []Cover{{Rule: "x", Toolsets: []string{"wiki"}}}}
	for _, c := range []struct {
		name string
		l    Limits
	}{
		{"none", nil}, {"few", Limits{few, few}}, {"many", Limits{{Grants: []Cover{{Repositories: append(many, "acme/site")}}}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !c.l.Request(q).Allowed {
					b.Fatal("refused")
				}
			}
		})
	}
}

// BenchmarkConnect and BenchmarkKey are of each request of a client.
func BenchmarkConnect(b *testing.B) {
	l := Limits{{Grants: []Cover{{ReadOnly: true, Toolsets: []string{"wiki"}}}, Denials: []Cover{{Rule: "x", Tools: []string{"create_issue"}}}}}
	b.ReportAllocs()
	for b.Loop() {
		if !l.Connect().Allowed {
			b.Fatal("refused")
		}
	}
}

func BenchmarkKey(b *testing.B) {
	l := Limits{{Grants: []Cover{{ReadOnly: true, Toolsets: []string{"wiki"}}}, Denials: []Cover{{Rule: "x", Tools: []string{"create_issue"}}}}}
	b.ReportAllocs()
	for b.Loop() {
		l.Key()
	}
}
