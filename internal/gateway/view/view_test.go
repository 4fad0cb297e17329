package view

import "testing"

func TestView(t *testing.T) {
	for _, tc := range []struct {
		view    View
		toolset string
		all     bool
		has     bool
	}{
		{View{}, "issues", true, true},
		{View{}, "", true, true},
		{View{ReadOnly: true}, "issues", false, true},
		{View{Toolsets: []string{"issues", "wiki"}}, "wiki", false, true},
		{View{Toolsets: []string{"issues", "wiki"}}, "files", false, false},
		{View{Toolsets: []string{"issues", "wiki"}}, "", false, false},
		{View{Toolsets: []string{}}, "issues", false, false},
	} {
		v := Of(With(t.Context(), tc.view))
		if v.All() != tc.all || v.Has(tc.toolset) != tc.has {
			t.Errorf("%+v: All %v, Has(%q) %v", tc.view, v.All(), tc.toolset, v.Has(tc.toolset))
		}
	}
	if v := Of(t.Context()); !v.All() {
		t.Errorf("a request that asks for nothing sees %+v", v)
	}
}
