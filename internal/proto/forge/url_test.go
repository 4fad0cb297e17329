package forge

import (
	"net/url"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	for _, tt := range []struct{ raw, want, fault string }{
		{"https://git.example.org", "https://git.example.org", ""},
		{"https://Git.Example.org:443/", "https://git.example.org", ""},
		{"http://[::1]:80/x/", "http://[::1]/x", ""},
		{"http://git.example.org:443", "http://git.example.org:443", ""},
		{"http://forgejo.localhost:3000/a/b", "http://forgejo.localhost:3000/a/b", ""},
		{"", "", "want an absolute URL"},
		{"git.example.org", "", "want an absolute URL"},
		{"https://:3000", "", "want an absolute URL"},
		{"ftp://git.example.org", "", "want an absolute URL"},
		{"https://git.example.org:x", "", "not a URL"},
		{"https://alice:secret@git.example.org", "", "user name"},
		{"https://git.example.org?", "", "query"},
		{"https://git.example.org?q=1", "", "query"},
		{"https://git.example.org#f", "", "query or fragment"},
		{"https://git.example.org/a//b", "", "plain path"},
		{"https://git.example.org/a/../b", "", "plain path"},
		{"https://git.example.org/a%2Fb", "", "plain path"},
	} {
		u, err := ParseURL(tt.raw)
		switch {
		case tt.fault == "" && (err != nil || u.String() != tt.want):
			t.Errorf("%s: %v, %v; want %s", tt.raw, u, err, tt.want)
		case tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault) || strings.Contains(err.Error(), "secret")):
			t.Errorf("%s: %v, want an error with %q", tt.raw, err, tt.fault)
		}
	}
}

func TestPort(t *testing.T) {
	for raw, want := range map[string]string{
		"http://a": "80", "https://a": "443", "http://a:443": "443", "https://[::1]:3000/x": "3000", "ssh://a": "", "ssh://a:22": "22",
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := Port(u); got != want {
			t.Errorf("%s: port %q, want %q", raw, got, want)
		}
	}
}
