package release

import (
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
	"github.com/fjmcp/fjmcp-broker/internal/test/testcache"
)

// TestRelease makes a release with a throw-away key, looks at all that is in it, and
// installs from it. The image's archive is tested where the image is, by package podman.
func TestRelease(t *testing.T) {
	for _, tool := range []string{"gpg", "apt-ftparchive", "dpkg-buildpackage", "dh", "make"} {
		if _, err := exec.LookPath(tool); err != nil {
			unavailable(t, "a release is made with "+tool+", which is not here")
		}
	}
	key, err := NewKey(t.Context())
	must(t, err)
	t.Cleanup(func() { must(t, key.Remove()) })
	out := t.TempDir()
	build(t, key, out)
	version := strings.TrimSpace(command(t, "dpkg-parsechangelog", "-l", top+"/debian/changelog", "-S", "Version"))

	var names []string
	entries, err := os.ReadDir(out)
	must(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	base := "fjmcp-broker_" + version + "_"
	want := []string{"CHANGES", "SHA256SUMS", "SHA256SUMS.asc", "apt", base + "amd64.cdx.json", base + "amd64.deb", base + "arm64.cdx.json", base + "arm64.deb"}
	if !slices.Equal(names, want) {
		t.Fatalf("the release has %q, want %q", names, want)
	}
	t.Run("sums", func(t *testing.T) { sums(t, key, out) })
	t.Run("arm64", func(t *testing.T) { foreignPrograms(t, filepath.Join(out, base+"arm64.deb"), version) })
	t.Run("bills of materials", func(t *testing.T) {
		for _, arch := range []string{"amd64", "arm64"} {
			bill(t, filepath.Join(out, base+arch+".cdx.json"), version)
		}
	})
	if err := nspawn.Check(); err != nil {
		unavailable(t, err.Error())
	}
	repository, err := Open(filepath.Join(out, "apt"))
	must(t, err)
	stranger, err := NewKey(t.Context())
	must(t, err)
	t.Cleanup(func() { must(t, stranger.Remove()) })
	foreign, err := NewRepository(t.Context(), t.TempDir(), stranger, filepath.Join(out, base+"amd64.deb"))
	must(t, err)
	for _, suite := range []string{"bookworm", "trixie"} {
		t.Run("apt of "+suite, func(t *testing.T) { testApt(t, suite, repository, foreign) })
	}
}

// unavailable skips the test; in CI nothing may be skipped.
func unavailable(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func build(t *testing.T, key *Key, out string) {
	t.Helper()
	// One builds in dist/, others wait.
	cmd := exec.CommandContext(t.Context(), "flock", top+"/debian", "make", "-C", top, "release", "RELEASE="+out, "DIRTY=1", "PODMAN=")
	for _, v := range key.Env() { // but for those of a make that runs this test
		if !strings.HasPrefix(v, "MAKE") && !strings.HasPrefix(v, "MFLAGS=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("make release: %v\n%s", err, text)
	}
	if !strings.Contains(string(text), "no image archive: there is no Podman") {
		t.Errorf("make release does not say that it made no image:\n%s", text)
	}
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// sums checks a download as its user would: the signature, then the files.
func sums(t *testing.T, key *Key, out string) {
	ring := filepath.Join(t.TempDir(), "key.gpg")
	_, err := key.gpg(t.Context(), "--output", ring, "--export", key.Fingerprint)
	must(t, err)
	list := filepath.Join(out, "SHA256SUMS")
	command(t, "gpgv", "--keyring", ring, list+".asc", list)
	command(t, "env", "--chdir="+out, "sha256sum", "--check", "--strict", "SHA256SUMS")
	text, err := os.ReadFile(list)
	must(t, err)
	if got := strings.Count(string(text), "\n"); got != 5 {
		t.Errorf("there are sums of %d files:\n%s", got, text)
	}
	must(t, os.WriteFile(filepath.Join(out, "changed"), append(text, '\n'), 0o600))
	defer os.Remove(filepath.Join(out, "changed"))
	if exec.CommandContext(t.Context(), "gpgv", "--keyring", ring, list+".asc", filepath.Join(out, "changed")).Run() == nil {
		t.Error("the signature holds for other sums, too")
	}
}

// foreignPrograms runs the programs of the package for arm64 on an emulated processor.
func foreignPrograms(t *testing.T, deb, version string) {
	if got := strings.TrimSpace(command(t, "dpkg-deb", "--field", deb, "Architecture")); got != "arm64" {
		t.Errorf("the package is for %s", got)
	}
	tree := t.TempDir()
	command(t, "dpkg-deb", "--extract", deb, tree)
	var programs []string
	for _, dir := range []string{"sbin", "bin", "libexec/fjmcp"} {
		found, _ := filepath.Glob(filepath.Join(tree, "usr", dir, "*"))
		programs = append(programs, found...)
	}
	if len(programs) != 4 {
		t.Fatalf("there are the programs %q", programs)
	}
	for _, p := range programs {
		f, err := elf.Open(p)
		must(t, err)
		if libraries, _ := f.ImportedLibraries(); f.Machine != elf.EM_AARCH64 || len(libraries) > 0 {
			t.Errorf("%s is for %v, with the libraries %q", p, f.Machine, libraries)
		}
		f.Close()
	}
	qemu := emulator(t)
	for _, p := range programs {
		if got := command(t, qemu, p, "--version"); !strings.HasPrefix(got, filepath.Base(p)+" "+version+" (") {
			t.Errorf("%s --version: %q", filepath.Base(p), got)
		}
	}
}

// emulator is QEMU's for programs of arm64, unpacked and not installed: registered with the
// kernel it would run them on the whole machine.
func emulator(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"qemu-aarch64-static", "qemu-aarch64"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	dir, err := testcache.Unpacked(t.Context(), "qemu-user-static")
	if err != nil {
		unavailable(t, err.Error())
	}
	return filepath.Join(dir, "usr/bin/qemu-aarch64-static")
}

// bill holds a bill of materials against go.mod; what CycloneDX requires is tested where it
// is made.
func bill(t *testing.T, file, version string) {
	text, err := os.ReadFile(file)
	must(t, err)
	var b struct {
		BOMFormat  string
		Metadata   struct{ Component struct{ Version string } }
		Components []struct{ Type, Name, Version string }
	}
	must(t, json.Unmarshal(text, &b))
	if b.BOMFormat != "CycloneDX" || b.Metadata.Component.Version != version {
		t.Errorf("%s is a %s of %s", file, b.BOMFormat, b.Metadata.Component.Version)
	}
	has := map[string]string{}
	for _, c := range b.Components {
		has[c.Name] = c.Version
	}
	for _, program := range []string{"fjmcp-broker", "fjmcp-launcher", "fjmcp-session", "fjmcpctl"} {
		if has[program] != version {
			t.Errorf("%s has %s %q", file, program, has[program])
		}
	}
	mod, err := os.ReadFile(top + "/go.mod")
	must(t, err)
	for _, module := range []string{"github.com/spf13/cobra", "modernc.org/sqlite", "gorm.io/gorm"} {
		if m := regexp.MustCompile(regexp.QuoteMeta(module) + ` (v\S+)`).FindSubmatch(mod); m == nil || has[module] != string(m[1]) {
			t.Errorf("%s has %s %q, go.mod %q", file, module, has[module], m)
		}
	}
	if !regexp.MustCompile(`^1\.\d+`).MatchString(has["stdlib"]) {
		t.Errorf("%s has Go's library %q", file, has["stdlib"])
	}
}
