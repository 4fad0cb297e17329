package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
)

const grantToAll = "[[grant]]\nname = \"all\"\neveryone = true\naccess = \"read\"\n"

// policyAt is a file of that text and mode.
func policyAt(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.toml")
	write(t, path, []byte(text))
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPolicy(t *testing.T) {
	path := policyAt(t, grantToAll, 0o640)
	c, err := load(t, true, "FJMCP_BROKER_POLICY="+path)
	if err != nil || c.PolicyFile != path || len(c.Policy.Rules) != 1 {
		t.Fatalf("got %+v, %v", c, err)
	}
	write(t, path, []byte(grantToAll+"x = 1\n"))
	var faults *policy.Error
	if _, err := c.ReadPolicy(); !errors.As(err, &faults) || len(faults.Faults) != 1 || !strings.HasPrefix(faults.Faults[0], "line 5: ") {
		t.Errorf("changed: got %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadPolicy(); !errors.As(err, &faults) {
		t.Errorf("gone: got %v", err)
	}
}

// Only where nothing has the default's name is there no policy.
func TestPolicyByDefault(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "etc", "policy.toml")
	l := newLoader([]string{}, nil)
	if l.policyFile != DefaultPolicy {
		t.Errorf("got %q", l.policyFile)
	}
	read := func() (*policy.Document, []string) {
		l := &loader{policyFile: path}
		var c Config
		l.policy(&c)
		return c.Policy, l.faults
	}
	if doc, faults := read(); doc != nil || faults != nil {
		t.Errorf("no directory: got %v, %v", doc, faults)
	}
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if doc, faults := read(); doc != nil || faults != nil {
		t.Errorf("no file: got %v, %v", doc, faults)
	}
	if err := os.Symlink("gone.toml", path); err != nil {
		t.Fatal(err)
	}
	if doc, faults := read(); doc != nil || len(faults) != 1 || !strings.Contains(faults[0], "a link that leads nowhere") {
		t.Errorf("a link that leads nowhere: got %v, %v", doc, faults)
	}
	write(t, filepath.Join(dir, "etc", "gone.toml"), []byte(grantToAll))
	if doc, faults := read(); doc == nil || faults != nil {
		t.Errorf("a link: got %v, %v", doc, faults)
	}
}

func TestPolicyFaults(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path, want string
		others     []string
	}{
		"relative":          {"policy.toml", "want an absolute path", nil},
		"not there":         {"/nowhere/policy.toml", "it is not there", nil},
		"a directory":       {t.TempDir(), "no regular file", nil},
		"a pipe":            {pipe, "no regular file", nil},
		"group can write":   {policyAt(t, grantToAll, 0o660), "can write it (mode 0660)", nil},
		"others can write":  {policyAt(t, grantToAll, 0o602), "can write it (mode 0602)", nil},
		"faulty":            {policyAt(t, "[[grant]]\nx = 1\ny = 1\n", 0o600), "policy.toml: line 3: there is no key", nil},
		"no organizations":  {policyAt(t, grantToAll+"[[grant]]\nname=\"a\"\naccess=\"read\"\norganizations=[\"acme\"]\n", 0o600), "line 5: organizations: the forge does not say", []string{"FJMCP_BROKER_FORGEJO_SCOPES=write:repository read:user"}},
		"no teams":          {policyAt(t, grantToAll+"[[grant]]\nname=\"a\"\naccess=\"read\"\nteams=[\"acme/x\"]\n", 0o600), "line 5: teams: the forge does not say", []string{"FJMCP_BROKER_FORGEJO_SCOPES=write:repository read:organization"}},
		"no administrators": {policyAt(t, grantToAll+"[[grant]]\nname=\"a\"\naccess=\"read\"\nadministrators=true\n", 0o600), "line 5: administrators: the forge does not say", []string{"FJMCP_BROKER_FORGEJO_SCOPES=write:repository"}},
		"public only":       {policyAt(t, grantToAll+"[[grant]]\nname=\"a\"\naccess=\"read\"\nteams=[\"acme/x\"]\n", 0o600), "line 5: teams: the forge does not say", []string{"FJMCP_BROKER_FORGEJO_SCOPES=write:user public-only"}},
	} {
		_, err := load(t, true, append(c.others, "FJMCP_BROKER_POLICY="+c.path)...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	// Each of these is enough.
	for scopes, text := range map[string]string{
		"read:user read:organization": "organizations=[\"acme\"]\nteams=[\"acme/x\"]\nadministrators=true\n",
		"write:repository read:user":  "teams=[\"acme/x\"]\nadministrators=true\n",
		"all":                         "organizations=[\"acme\"]\n",
	} {
		path := policyAt(t, "[[grant]]\nname=\"a\"\naccess=\"read\"\n"+text, 0o600)
		if _, err := load(t, true, "FJMCP_BROKER_FORGEJO_SCOPES="+scopes, "FJMCP_BROKER_POLICY="+path); err != nil {
			t.Errorf("%s: %v", scopes, err)
		}
	}
}

// TestPolicyOfAnotherUser takes root, who alone can give a file away.
func TestPolicyOfAnotherUser(t *testing.T) {
	path := policyAt(t, grantToAll, 0o644)
	want := "belongs to the user with ID 12345"
	if err := os.Chown(path, 12345, 0); err != nil {
		want = "" // it is the reader's own
	}
	_, err := load(t, true, "FJMCP_BROKER_POLICY="+path)
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("got %v", err)
	}
}
