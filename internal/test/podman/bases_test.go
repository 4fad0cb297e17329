package podman

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

const (
	busybox        = "/bin/busybox" // Debian's busybox-static
	seccompProfile = "/usr/share/containers/seccomp.json"

	// known stands in a file of the image that sessions may read.
	known, knownPath = "this may be read by a session", "/usr/share/known"
)

// entry is a file of a base image, a directory without content.
type entry struct {
	path    string
	mode    int64
	content []byte
}

// bases makes what a registry would give: an image with Go and a shell, and one with
// nothing but what statically linked programs look for. Go itself, its cache and the
// modules are this machine's, mounted while building.
func bases() error {
	shell, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	roots, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil {
		return err
	}
	builder := []entry{{"tmp/", 0o1777, nil}, {"bin/sh", 0o755, shell}, {"bin/mkdir", 0o755, shell}}
	static := []entry{
		{"tmp/", 0o1777, nil},
		{"etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n")},
		{"etc/ssl/certs/ca-certificates.crt", 0o644, roots},
		{knownPath[1:], 0o644, []byte(known)},
	}
	return errors.Join(
		importImage("localhost/go", builder, "ENV PATH=/usr/local/go/bin:/bin", "ENV GOPATH=/go", "ENV GOCACHE=/gocache"),
		importImage("localhost/static", static))
}

func importImage(name string, entries []entry, changes ...string) error {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	made := map[string]bool{".": true}
	for _, e := range entries {
		if err := parents(w, made, path.Dir(strings.TrimSuffix(e.path, "/"))); err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: e.path, Mode: e.mode, Size: int64(len(e.content))}); err != nil {
			return err
		}
		if _, err := w.Write(e.content); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	args := []string{"import", "--quiet"}
	for _, c := range changes {
		args = append(args, "--change", c)
	}
	cmd := exec.Command("podman", append(args, "-", name)...)
	cmd.Stdin = &archive
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot import %s: %w\n%s", name, err, out)
	}
	return nil
}

// parents adds a directory and those above it, once each. Those that an archive does
// not name would be root's alone.
func parents(w *tar.Writer, made map[string]bool, name string) error {
	if made[name] {
		return nil
	}
	made[name] = true
	if err := parents(w, made, path.Dir(name)); err != nil {
		return err
	}
	return w.WriteHeader(&tar.Header{Name: name + "/", Mode: 0o755})
}

// backend builds the program that takes forgejo-mcp's place in the image.
func backend() error {
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "backend", "forgejo-mcp"), "../fakemcp")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build the stand-in: %w\n%s", err, out)
	}
	return nil
}

// imageFlags are the operator's IMAGE_FLAGS= of a machine without a registry.
func imageFlags() (string, error) {
	out, err := command("go", "env", "GOROOT", "GOMODCACHE", "GOCACHE")
	if err != nil {
		return "", err
	}
	var root, modules, cache string
	if _, err := fmt.Sscan(out, &root, &modules, &cache); err != nil {
		return "", err
	}
	return fmt.Sprintf("--isolation=chroot --layers=false --build-arg GO_IMAGE=localhost/go --build-arg RUNTIME_IMAGE=localhost/static"+
		" --build-context forgejo-mcp=%s/backend --build-arg GOPROXY=off"+
		" --volume %s:/usr/local/go:ro --volume %s:/go/pkg/mod:ro --volume %s:/gocache", dir, root, modules, cache), nil
}
