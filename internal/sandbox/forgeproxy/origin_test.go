package forgeproxy

import (
	"net/url"
	"testing"
)

func TestOriginIs(t *testing.T) {
	tests := []struct {
		forge, scheme, host string
		want                bool
	}{
		{"https://git.example.org", "https", "git.example.org", true},
		{"https://git.example.org", "https", "GIT.example.org:443", true},
		{"https://git.example.org:443", "https", "git.example.org", true},
		{"http://git.example.org", "http", "git.example.org:80", true},
		{"http://[::1]:3000", "http", "[::1]:3000", true},
		{"https://git.example.org", "http", "git.example.org", false},
		{"https://git.example.org", "https", "git.example.org:8443", false},
		{"https://git.example.org", "https", "git.example.org.evil.test", false},
		{"https://git.example.org", "https", "git.example.org.", false},
		{"https://git.example.org", "https", "git.example.org:443@evil.test", false},
		{"https://git.example.org", "https", "", false},
	}
	for _, tt := range tests {
		if got := testOrigin(t, tt.forge).is(tt.scheme, tt.host); got != tt.want {
			t.Errorf("%s: is(%q, %q) = %v", tt.forge, tt.scheme, tt.host, got)
		}
	}
}

func TestOriginHolds(t *testing.T) {
	tests := []struct {
		forge, path string
		want        bool
	}{
		{"https://example.org", "/anything", true},
		{"https://example.org/", "", true},
		{"https://example.org/git", "/git", true},
		{"https://example.org/git/", "/git/api/v1/user", true},
		{"https://example.org/git", "/gitlab/api", false},
		{"https://example.org/git", "/git/../admin", false},
		{"https://example.org/git", "/", false},
	}
	for _, tt := range tests {
		if got := testOrigin(t, tt.forge).holds(tt.path); got != tt.want {
			t.Errorf("%s: holds(%q) = %v", tt.forge, tt.path, got)
		}
	}
}

func testOrigin(t *testing.T, s string) origin {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return newOrigin(u)
}
