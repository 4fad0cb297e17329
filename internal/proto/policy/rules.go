package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Member is what the forge says of a user.
type Member struct {
	ID int64
	// Known is false where the forge could not be asked for what follows: then no rule
	// that grants by it does.
	Known                bool
	Administrator        bool
	Organizations, Teams []int64
}

// is reports whether m is the user of that id, or known to be a member of the organization
// or team. No id is 0.
func (m *Member) is(kind Kind, id int64) bool {
	switch {
	case id == 0:
		return false
	case kind == User:
		return m.ID == id
	case kind == Organization:
		return m.Known && slices.Contains(m.Organizations, id)
	}
	return m.Known && slices.Contains(m.Teams, id)
}

// Rules is a Document that is indexed by the forge's ids.
type Rules struct {
	doc            *Document
	ids            map[Subject]int64
	everyone       Rights
	administrators []int // positions in doc, as below
	byID           map[holder][]int
}

// holder is a Subject by id.
type holder struct {
	kind Kind
	id   int64
}

// Compile indexes the document. ids has those of Names that are not pinned; who is missing
// there matches nobody. Neither may be changed after that.
func (d *Document) Compile(ids map[Subject]int64) *Rules {
	r := &Rules{doc: d, ids: ids, byID: make(map[holder][]int)}
	for i := range d.Rules {
		rule := &d.Rules[i]
		if rule.Everyone {
			r.everyone.add(rule)
			continue // the others are among them
		}
		if rule.Administrators {
			r.administrators = append(r.administrators, i)
		}
		for _, s := range rule.subjects() {
			if id := s.resolve(ids); id > 0 {
				h := holder{s.Kind, id}
				r.byID[h] = append(r.byID[h], i)
			}
		}
	}
	r.everyone.simplify()
	return r
}

func (s Subject) resolve(ids map[Subject]int64) int64 {
	if s.ID != 0 {
		return s.ID
	}
	return ids[s]
}

// For returns what m may do. The error says that the rules that match do not fit in
// MaxBytes, with what to do about it; the Rights then allow nothing.
func (r *Rules) For(m Member) (Rights, error) {
	rights := Rights{Grants: slices.Clone(r.everyone.Grants), Denials: slices.Clone(r.everyone.Denials)}
	for _, i := range r.matching(m) {
		rights.add(&r.doc.Rules[i])
	}
	rights.simplify()
	if n := rights.size(); n > MaxBytes {
		return Rights{}, fmt.Errorf("the rules that match user %d take %d bytes of at most %d; merge them, or name owners or patterns in place of repositories", m.ID, n, MaxBytes)
	}
	return rights, nil
}

// matching returns the positions of rules that match m and not everyone, in order.
func (r *Rules) matching(m Member) []int {
	all := slices.Clone(r.byID[holder{User, m.ID}])
	if m.Known {
		if m.Administrator {
			all = append(all, r.administrators...)
		}
		for _, id := range m.Organizations {
			all = append(all, r.byID[holder{Organization, id}]...)
		}
		for _, id := range m.Teams {
			all = append(all, r.byID[holder{Team, id}]...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (r *Rights) add(rule *Rule) {
	if rule.Deny {
		r.Denials = append(r.Denials, rule.cover())
	} else {
		r.Grants = append(r.Grants, rule.cover())
	}
}

// size is that of the JSON.
func (r *Rights) size() int {
	text, err := json.Marshal(r)
	if err != nil {
		panic("policy: " + err.Error()) // strings and booleans
	}
	return len(text)
}

// simplify brings the covers into one order, and merges grants: where two differ in their
// tools only, or in their repositories only, one with both says the same. Denials are left
// apart, so that each refusal names its rule.
func (r *Rights) simplify() {
	r.Grants = merge(r.Grants, (*Cover).places)
	r.Grants = merge(r.Grants, (*Cover).tools)
	slices.SortFunc(r.Grants, func(a, b Cover) int { return strings.Compare(a.text(), b.text()) })
	slices.SortFunc(r.Denials, func(a, b Cover) int { return strings.Compare(a.Rule, b.Rule) })
}

func (c *Cover) places() []*[]string { return []*[]string{&c.Repositories, &c.Owners} }
func (c *Cover) tools() []*[]string  { return []*[]string{&c.Toolsets, &c.Tools} }

// merge joins those that differ in nothing but the lists of part, which are for all where
// they are empty. The lists of covers stay as they are.
func merge(covers []Cover, part func(*Cover) []*[]string) []Cover {
	var merged []Cover
	at := make(map[string]int)
	for _, c := range covers {
		rest := c
		for _, list := range part(&rest) {
			*list = nil
		}
		text := rest.text()
		i, ok := at[text]
		if !ok {
			i = len(merged)
			at[text], merged = i, append(merged, rest)
		}
		extend(part(&merged[i]), part(&c), !ok)
	}
	for i := range merged {
		for _, list := range part(&merged[i]) {
			*list = sorted(*list)
		}
	}
	return merged
}

// extend adds the lists of more to those of whole, of which first says that they have none
// yet.
func extend(whole, more []*[]string, first bool) {
	if !first && isAll(whole) {
		return
	}
	all := isAll(more)
	for i, list := range whole {
		if *list = append(*list, *more[i]...); all {
			*list = nil
		}
	}
}

func isAll(lists []*[]string) bool {
	return !slices.ContainsFunc(lists, func(list *[]string) bool { return len(*list) > 0 })
}

func (c *Cover) text() string {
	text, err := json.Marshal(c)
	if err != nil {
		panic("policy: " + err.Error()) // strings and booleans
	}
	return string(text)
}
