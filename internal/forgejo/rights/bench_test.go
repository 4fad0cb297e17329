package rights_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// BenchmarkLimit is what each call costs, with a policy of so many rules.
func BenchmarkLimit(b *testing.B) {
	for _, n := range []int{0, 1, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := newWorld(b)
			w.must(w.load(manyRules(n)))
			a := w.logIn("alice")
			w.limits(a)
			b.ReportAllocs()
			for b.Loop() {
				if err := w.rights.Limit(b.Context(), &a); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// manyRules is a policy of n rules, of which the first is for alice and the others for
// others.
func manyRules(n int) string {
	var text strings.Builder
	for i := range n {
		who := fmt.Sprintf("users = [\"user%d#%d\"]", i, 1_000_000+i)
		if i == 0 {
			who = `users = ["alice"]`
		}
		text.WriteString(grant(fmt.Sprintf("g%d", i), who, "write"))
	}
	return text.String()
}

// Ten thousand rules are loaded within a reload, and cost one user what one rule does.
func TestManyRules(t *testing.T) {
	w := newWorld(t)
	began := time.Now()
	w.must(w.load(manyRules(10_000)))
	a := w.logIn("alice")
	w.may(a, "write")
	t.Logf("loaded and asked in %v", time.Since(began))
	if l := w.limits(a); len(l) != 1 || len(l[0].Grants) != 1 {
		t.Errorf("limits of %d rights: %+v", len(l), l)
	}
	if _, _, err := w.tryLogIn("bob"); err == nil {
		t.Error("bob may connect")
	}
}
