package release

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
)

// tamper changes files of a repository on their way to apt, as whoever holds the server can.
type tamper struct {
	*Repository
	change atomic.Value // func(name string, text []byte) []byte
}

func (s *tamper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, err := os.ReadFile(filepath.Join(s.Dir, filepath.Clean(r.URL.Path)))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	if text = s.change.Load().(func(string, []byte) []byte)(filepath.Base(r.URL.Path), text); text == nil {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(text)
}

func honest(_ string, text []byte) []byte { return text }

// replaced puts text in the place of other text in a file of that name.
func replaced(file, before, after string) func(string, []byte) []byte {
	return func(name string, text []byte) []byte {
		if name != file {
			return text
		}
		return bytes.Replace(text, []byte(before), []byte(after), 1)
	}
}

// without takes the files of those names away.
func without(files ...string) func(string, []byte) []byte {
	return func(name string, text []byte) []byte {
		for _, f := range files {
			if name == f {
				return nil
			}
		}
		return text
	}
}

// flipped changes the middle byte of a file whose name ends so.
func flipped(suffix string) func(string, []byte) []byte {
	return func(name string, text []byte) []byte {
		if strings.HasSuffix(name, suffix) {
			text = bytes.Clone(text)
			text[len(text)/2] ^= 1
		}
		return text
	}
}

// testApt has apt refuse what was tampered with, and install what was not; then it goes
// through removal, reinstallation and purge.
func testApt(t *testing.T, suite string, repository, foreign *Repository) {
	root, err := nspawn.Root(t.Context(), suite)
	must(t, err)
	c, err := nspawn.Boot(t.Context(), root)
	must(t, err)
	t.Cleanup(func() { must(t, c.Close()) })
	server := &tamper{Repository: repository}
	server.change.Store(honest)
	stop, err := c.AddRepository(t.Context(), server, repository.Key)
	must(t, err)
	t.Cleanup(stop)
	must(t, c.WriteFile("/etc/apt/sources.list", nil, 0o644)) // nothing but the repository

	apt := func(args ...string) (string, int) {
		t.Helper()
		r, err := c.Exec(t.Context(), nspawn.Cmd{Argv: append([]string{"apt-get", "-q", "-y"}, args...), Env: []string{"DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"}})
		must(t, err)
		return r.Stdout + r.Stderr, r.Code
	}
	other, err := os.ReadFile(filepath.Join(foreign.Dir, "dists/stable/InRelease"))
	must(t, err)
	for _, attack := range []struct {
		what   string
		change func(string, []byte) []byte
		says   string
	}{
		{"a changed InRelease", replaced("InRelease", "Label: fjmcp-broker", "Label: fjmcp-Broker"), "BADSIG|has been manipulated"},
		{"an InRelease of somebody else", func(name string, text []byte) []byte {
			if name == "InRelease" {
				return other
			}
			return text
		}, "NO_PUBKEY|Missing key"},
		{"no signature", without("InRelease", "Release.gpg"), "is not signed"},
		{"a changed Release beside its signature", func(name string, text []byte) []byte {
			return replaced("Release", "Label: fjmcp-broker", "Label: fjmcp-Broker")(name, without("InRelease")(name, text))
		}, "BADSIG|has been manipulated"},
		{"a changed Packages", func(name string, text []byte) []byte {
			return replaced("Packages", "Version: ", "Version: 9")(name, without("Packages.xz")(name, text))
		}, "unexpected size"},
		{"a changed Packages.xz", flipped("Packages.xz"), "Hash Sum mismatch"},
	} {
		server.change.Store(attack.change)
		out, code := apt("update", "--error-on=any")
		if code == 0 {
			t.Errorf("%s: apt takes it:\n%s", attack.what, out)
		} else if !says(out, attack.says) {
			t.Errorf("%s: apt does not say %q:\n%s", attack.what, attack.says, out)
		}
		if out, _ := apt("install", "fjmcp-broker"); !strings.Contains(out, "Unable to locate package") {
			t.Errorf("%s: apt knows the package:\n%s", attack.what, out)
		}
	}

	server.change.Store(flipped(".deb"))
	if out, code := apt("update", "--error-on=any"); code != 0 {
		t.Fatalf("apt-get update:\n%s", out)
	}
	if out, code := apt("install", "fjmcp-broker"); code == 0 || !strings.Contains(out, "Hash Sum mismatch") {
		t.Errorf("a changed package: %d\n%s", code, out)
	}

	server.change.Store(honest)
	step := func(want string, args ...string) {
		t.Helper()
		out, code := apt(args...)
		if code != 0 || !strings.Contains(out, want) {
			t.Fatalf("apt-get %v: exit status %d, want it to say %q:\n%s", args, code, want, out)
		}
		if strings.Contains(out, "arning") {
			t.Errorf("apt-get %v warns:\n%s", args, out)
		}
	}
	step("Set it up with: fjmcpctl setup", "install", "fjmcp-broker")
	looksWhole(t, c)
	step("", "remove", "fjmcp-broker")
	_, err = c.Shell(t.Context(), "install -d -o fjmcp -g fjmcp -m 0700 /var/lib/fjmcp; install -o fjmcp -m 0600 /dev/null /var/lib/fjmcp/fjmcp.db")
	must(t, err)
	step("Start it with: systemctl enable --now fjmcp-broker.socket", "install", "fjmcp-broker")
	step("", "purge", "fjmcp-broker")
}

// looksWhole looks at the installed package: it is of the repository, and what is in it besides programs.
func looksWhole(t *testing.T, c *nspawn.Container) {
	t.Helper()
	out, err := c.Shell(t.Context(), `
		apt-cache policy fjmcp-broker | grep -q http://`+nspawn.RepositoryAddress+`
		test -z "$(dpkg --verify fjmcp-broker)"
		cd /usr/share
		test -f doc/fjmcp-broker/docs/operations.md
		test -f doc/fjmcp-broker/examples/Caddyfile
		test -f doc/fjmcp-broker/examples/fjmcp.conf
		test -f doc/fjmcp-broker/examples/policy.toml
		test -f bash-completion/completions/fjmcpctl
		test -f zsh/vendor-completions/_fjmcpctl
		test -f fish/vendor_completions.d/fjmcpctl.fish
		fjmcpctl version`)
	if err != nil || !strings.HasPrefix(out, "fjmcpctl ") {
		t.Errorf("the installed package: %v\n%s", err, out)
	}
}

// says tells whether text has one of the words that | parts: apt of Debian 13 checks
// signatures with another program, which has words of its own.
func says(text, words string) bool {
	for word := range strings.SplitSeq(words, "|") {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
