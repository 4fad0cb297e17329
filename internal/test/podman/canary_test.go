package podman

import (
	"encoding/json"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/fjmcp/fjmcp-broker/internal/test/search"
)

// A session's child finds no secret in anything that it can read in the container,
// though broker, database and secrets are of its own uid. The same program, started in
// the container without the confinement, finds them.
func TestCanary(t *testing.T) {
	h := start(t)
	const inDatabase = "a name that stands in the database"
	alice, bob := h.connect("alice", inDatabase), h.connect("bob", "bob's")
	h.mustBe(alice, "alice")
	h.mustBe(bob, "bob")
	secrets := append(h.forgeTokens(), known, inDatabase, h.app.ClientSecret, h.read("/proc/"+h.process("fjmcp-broker")+"/root/run/secrets/store-key"))
	token, err := alice.AccessToken(t.Context())
	h.must(err)
	secrets = append(secrets, token)

	found := h.search(alice, secrets)
	t.Logf("read %d files with %d bytes, below %d mounts; %d refused", found.Files, found.Bytes, len(found.Mounts), found.Denied)
	seen := false
	for _, f := range found.Hits {
		if secrets[f.Secret] != known {
			t.Errorf("%s holds secret %d", f.Path, f.Secret)
		}
		seen = seen || f.Path == knownPath
	}
	if !seen || found.Denied == 0 {
		t.Errorf("the search does not see what is there, or is refused nothing: %+v", found)
	}
	for _, mount := range []string{"/data", "/run/secrets"} {
		if !slices.Contains(found.Mounts, mount) {
			t.Errorf("the search did not begin at %s but at %q", mount, found.Mounts)
		}
	}

	alice.Close() // the fewer processes there are, the sooner it has looked at all of them
	bob.Close()
	free := h.search(h.unconfined(), secrets)
	for _, place := range []string{"/data/fjmcp.db", "/run/secrets/store-key", "/run/secrets/forgejo-client-secret", "/proc/"} {
		if !slices.ContainsFunc(free.Hits, func(f search.Hit) bool { return strings.HasPrefix(f.Path, place) && secrets[f.Secret] != known }) {
			t.Errorf("without the confinement nothing is found in %s", place)
		}
	}
}

// unconfined is the stand-in as a process of the container beside the sessions.
func (h *host) unconfined() caller {
	h.t.Helper()
	cmd := exec.Command("podman", "exec", "--interactive", container, "/usr/bin/forgejo-mcp", "--transport", "stdio", "--url", h.forgeURL)
	session, err := mcp.NewClient(&mcp.Implementation{Name: "unconfined", Version: "1"}, nil).Connect(h.t.Context(), &mcp.CommandTransport{Command: cmd}, nil)
	h.must(err)
	h.t.Cleanup(func() { session.Close() })
	return session
}

// search has the backend of c look for secrets wherever it can.
func (h *host) search(c caller, secrets []string) search.Report {
	h.t.Helper()
	if slices.Contains(secrets, "") {
		h.t.Fatal("an empty secret is everywhere")
	}
	var found search.Report
	h.must(json.Unmarshal([]byte(h.call(c, "search", search.Request{Complements: search.Complements(secrets...), Paths: h.files()})), &found))
	return found
}

// files names all that the container has, but for what the kernel makes up.
func (h *host) files() (paths []string) {
	h.t.Helper()
	root := "/proc/" + h.process("fjmcp-broker") + "/root"
	h.must(filepath.WalkDir(root+"/", func(path string, d fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, root)
		switch {
		case name == "/proc" || name == "/sys":
			return fs.SkipDir
		case err == nil && name != "/":
			paths = append(paths, name)
		}
		return err
	}))
	return paths
}
