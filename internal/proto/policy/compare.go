package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

// Changes are the names of rules by which one Document differs from another, each list in
// the order of its file. Where a rule stands in the file is no difference.
type Changes struct{ Added, Removed, Changed []string }

// None reports whether there is none.
func (c Changes) None() bool { return len(c.Added)+len(c.Removed)+len(c.Changed) == 0 }

// Compare says by what d differs from was. nil is a Document without rules.
func (d *Document) Compare(was *Document) (c Changes) {
	before, now := was.byName(), d.byName()
	for _, r := range d.rules() {
		if old, there := before[r.Name]; !there {
			c.Added = append(c.Added, r.Name)
		} else if !reflect.DeepEqual(old, now[r.Name]) {
			c.Changed = append(c.Changed, r.Name)
		}
	}
	for _, r := range was.rules() {
		if _, there := now[r.Name]; !there {
			c.Removed = append(c.Removed, r.Name)
		}
	}
	return c
}

// Digest is the same for two Documents whose rules are: 16 hexadecimal digits. It is "" for
// nil.
func (d *Document) Digest() string {
	if d == nil {
		return ""
	}
	list := make([]Rule, 0, len(d.Rules))
	for _, r := range d.byName() {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b Rule) int { return strings.Compare(a.Name, b.Name) })
	text, err := json.Marshal(list)
	if err != nil {
		panic("policy: " + err.Error()) // strings, numbers and booleans
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

func (d *Document) rules() []Rule {
	if d == nil {
		return nil
	}
	return d.Rules
}

// byName are the rules without their lines.
func (d *Document) byName() map[string]Rule {
	all := map[string]Rule{}
	for _, r := range d.rules() {
		r.Line = 0
		all[r.Name] = r
	}
	return all
}
