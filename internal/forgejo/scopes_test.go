package forgejo

import (
	"strings"
	"testing"
)

func TestValidateScopes(t *testing.T) {
	for _, tt := range []struct {
		list []string
		want string // part of the error; empty means valid
	}{
		{DefaultScopes, ""},
		{[]string{"all"}, ""},
		{[]string{"read:user", "public-only", "openid"}, ""},
		{nil, "full access"},
		{[]string{"openid", "profile"}, "full access"},
		{[]string{"public-only"}, "names no part of the API"},
		{[]string{"read:user,write:issue"}, `write "read:user write:issue"`},
		{[]string{"read:user", "repository"}, `write "read:repository" or "write:repository"`},
		{[]string{"Read:User"}, `write "read:user"`},
		{[]string{"read:usr"}, `cannot use the scope "read:usr"`},
		{[]string{"repo"}, `cannot use the scope "repo"`},
		{[]string{"delete:user"}, `cannot use the scope "delete:user"`},
		{[]string{""}, `cannot use the scope ""`},
	} {
		err := ValidateScopes(tt.list)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("ValidateScopes(%q) = %v, want %q", tt.list, err, tt.want)
		}
	}
}

func TestScopeWithin(t *testing.T) {
	for _, tt := range []struct {
		granted, asked string
		within, same   bool
	}{
		{"read:user", "read:user", true, true},
		{"read:user", "write:user", true, false},
		{"write:user", "read:user", false, false},
		{"read:user read:issue", "read:issue read:user", true, true},
		{"read:user read:issue", "read:user", false, false},
		{"read:user openid", "read:user", true, true},
		{"read:user write:user", "write:user", true, true},
		{"all", "read:user", false, false},
		{"read:user", "all", true, false},
		{"all", "all", true, true},
		{"", "read:user", false, false},
		{"openid email", "read:user", false, false},
		{"read:user,read:issue", "read:user read:issue", false, false},
		{"read:user read:nonsense", "read:user", false, false},
		{"read:user public-only", "read:user", true, false},
		{"read:user", "read:user public-only", false, false},
	} {
		if got := ScopeWithin(tt.granted, tt.asked); got != tt.within {
			t.Errorf("ScopeWithin(%q, %q) = %v", tt.granted, tt.asked, got)
		}
		if got := ScopeSame(tt.granted, tt.asked); got != tt.same {
			t.Errorf("ScopeSame(%q, %q) = %v", tt.granted, tt.asked, got)
		}
	}
}
