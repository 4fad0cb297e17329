package schema

import (
	"slices"
	"testing"

	"github.com/go-gormigrate/gormigrate/v2"
)

// A migration of one dialect that the other lacks leaves it behind.
func TestMigrationsHaveCounterparts(t *testing.T) {
	names := func(all []*gormigrate.Migration) (ids []string) {
		for _, m := range all {
			ids = append(ids, m.ID)
		}
		return ids
	}
	lite := names(sqlite)
	base := slices.Index(lite, "0021_folded_names")
	if base < 0 {
		t.Fatalf("SQLite lacks what PostgreSQL's base holds: %q", lite)
	}
	if got, want := names(postgres)[1:], lite[base+1:]; !slices.Equal(got, want) {
		t.Errorf("PostgreSQL has %q after its base, SQLite %q", got, want)
	}
}
