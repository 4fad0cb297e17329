package denypath

import (
	"net/url"
	"strings"
	"testing"
)

func mustParse(t testing.TB, value string) List {
	t.Helper()
	l, err := Parse(value)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestParse(t *testing.T) {
	for _, tt := range []struct{ value, want, fault string }{
		{"", Default, ""},
		{"  ", Default, ""},
		{"default", Default, ""},
		{"none", "none", ""},
		{"default /repos/*/*/hooks", Default + " /repos/*/*/hooks", ""},
		{"/Admin  /user/keys\t/admin", "/admin /user/keys", ""},
		{"/repos/*/.profile", "", `faulty: "/repos/*/.profile"`},
		{"user/keys /a//b /a/ / /a/../b /a%2fb /x?y /* /api/v1/user /ok", "", `faulty: "user/keys", "/a//b", "/a/", "/", "/a/../b", "/a%2fb", "/x?y", "/*", "/api/v1/user"`},
		{"none /admin", "", `faulty: "none"`},
		{strings.Repeat("/a ", 2), "/a", ""},
	} {
		l, err := Parse(tt.value)
		if tt.fault != "" {
			if err == nil || !strings.HasSuffix(err.Error(), tt.fault) {
				t.Errorf("%q: got %v, want …%s", tt.value, err, tt.fault)
			}
			continue
		}
		if err != nil || l.String() != tt.want {
			t.Errorf("%q: got %q, %v; want %q", tt.value, l, err, tt.want)
		}
		if again := mustParse(t, l.String()); again.String() != l.String() {
			t.Errorf("%q does not parse as itself: %q", l, again)
		}
	}
}

func TestDenies(t *testing.T) {
	l := mustParse(t, "")
	denied := []string{
		"/api/v1/user/keys", "/api/v1/user/keys/", "/api/v1/user/keys/7", "/api/v1/user/gpg_keys",
		"/api/v1/user/applications/oauth2", "/api/v1/users/alice/tokens", "/api/v1/users/alice/tokens/3",
		"/api/v1/admin", "/api/v1/admin/users", "/api/v1/repos/a/b/keys", "/api/v1/user/actions/runners/registration-token",
		"/API/V1/User/Keys", "//api//v1///user/keys", "/api/v1/./user/./keys", "/api/v1\\user\\keys",
		"/api/v1/user/%6beys", "/api/v1/user%2fkeys", "/api/v1/user%2Fkeys", "/api/v1/user%5ckeys", "/%61pi/v1/user/keys",
		"/api/v1/user/%256beys", "/api/v1/user%25252fkeys", "/api/v1/user/keys%2f..%2f..", "/api/v1/user/keys/../../user",
		"/api/v1/repos/a/b/contents/../../../../user/keys", "/api/v1/repos/a/b/contents/%2e%2e/%2E%2e/../../user/keys",
		"/api/v1/repos/a/b/contents/..%2f..%2f..%2f..%2fuser/keys", "/x/../api/v1/user/keys", "/../api/v1/user/keys",
		"/api/v1/user/x/%252e%252e/keys", "/api/v1/user/keys/%252e%252e/..", "/api/v1/users/a%2fb/../tokens", "/api/v1/users/../users/a/tokens",
		"/api/v1/user/%zz/../keys", "/api/v1/users/%00/tokens",
		"/%" + strings.Repeat("25", 100) + "41", // more layers than anyone unescapes
	}
	for _, path := range denied {
		if !l.Denies("", path) {
			t.Errorf("%s passes", path)
		}
		if !l.Denies("/Git", "/git"+strings.TrimPrefix(path, "/..")) {
			t.Errorf("/git%s passes below a prefix", path)
		}
	}
	allowed := []string{
		"/", "/api/v1/user", "/api/v1/user/repos", "/api/v1/user/keyring", "/api/v1/users/alice", "/api/v1/users/tokens/repos",
		"/api/v1/repos/admin/tokens/issues", "/api/v1/repos/a/b/contents/api/v1/admin/users.go", "/api/v1/repos/a/b/branches/user%2fkeys",
		"/api/v1/repos/user/keys", "/user/keys", "/alice/admin", "/api/v1/version", "/attachments/0-0", "/api/v1/repos/a/b/contents/100%25",
		"/api/v1/repos/a/b/contents/keys", "/api/v1/repos/a/b/raw/..hidden/keys", "/git/api/v1/user/keys",
	}
	for _, path := range allowed {
		if l.Denies("", path) {
			t.Errorf("%s is denied", path)
		}
	}
	if none := mustParse(t, "none"); none.Denies("", "/api/v1/user/keys") {
		t.Error("an empty list denies something")
	}
}

// Whatever Go's own reading of a path is, fully unescaped and cleaned or not at
// all, a denied one does not pass.
func FuzzDenies(f *testing.F) {
	for _, seed := range []string{"/api/v1/user/keys", "/api/v1/x/../user%2fkeys", "/%61pi/v1/admin", "//api/v1/users/a/tokens", "/api/v1/user\\keys", "/api/v1/repos/a/b"} {
		f.Add(seed)
	}
	l := mustParse(f, "/user/keys /users/*/tokens /admin")
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.Parse("http://forge" + path)
		if err != nil || u.Host != "forge" {
			return
		}
		if reaches(u.JoinPath().Path) || reaches(u.Path) || reaches(u.EscapedPath()) {
			if !l.Denies("", u.EscapedPath()) {
				t.Errorf("%q passes", u.EscapedPath())
			}
		}
	})
}

// reaches is an independent, plain reading.
func reaches(path string) bool {
	rest, ok := strings.CutPrefix(path, "/api/v1/")
	if !ok {
		return false
	}
	for _, denied := range []string{"user/keys", "admin"} {
		if rest == denied || strings.HasPrefix(rest, denied+"/") {
			return true
		}
	}
	parts := strings.Split(rest, "/")
	return len(parts) >= 3 && parts[0] == "users" && parts[1] != "" && parts[1] != "." && parts[2] == "tokens"
}
