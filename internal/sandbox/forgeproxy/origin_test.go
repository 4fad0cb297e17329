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

func TestWithinOrigin(t *testing.T) {
	tests := []struct{ forge, path, want string }{
		{"https://example.org", "/anything", "/anything"},
		{"https://example.org/", "/", "/"},
		{"https://example.org/git/", "/git/api/v1/user%2fx", "/api/v1/user%2fx"},
		{"https://example.org/a%20b", "/a%20b/api", "/api"},
		{"https://example.org/git", "/git/../admin", "/../admin"}, // which no policy opens
		{"https://example.org", "", ""},
		{"https://example.org/git", "/git", ""},
		{"https://example.org/git", "/gitlab/api", ""},
		{"https://example.org/git", "/%67it/api", ""},
		{"https://example.org/git", "/./git/api", ""},
		{"https://example.org/git", "/", ""},
	}
	for _, tt := range tests {
		if got, ok := testOrigin(t, tt.forge).within(tt.path); ok != (tt.want != "") || ok && got != tt.want {
			t.Errorf("%s: within(%q) = %q, %v", tt.forge, tt.path, got, ok)
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
