package model

import "testing"

func TestGrantedScope(t *testing.T) {
	const both = "forgejo:read forgejo:write"
	for asked, want := range map[string]string{
		"": both, "openid profile offline_access": both, both: both, "forgejo:write": both, "forgejo:write openid forgejo:read": both,
		"forgejo:read": "forgejo:read", "openid  forgejo:read": "forgejo:read", "forgejo:reads": both,
	} {
		got := GrantedScope(asked)
		if got != want {
			t.Errorf("%q is granted %q, want %q", asked, got, want)
		}
		if ReadOnly(got) != (want != both) {
			t.Errorf("%q: ReadOnly = %v", got, ReadOnly(got))
		}
	}
	if !ReadOnly("") || !ReadOnly("xforgejo:write") {
		t.Error("what does not name the right has it")
	}
}
