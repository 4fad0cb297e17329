package setup

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestSealedIn(t *testing.T) {
	const shipped = "# /usr/lib/systemd/system/fjmcp-broker.service\n[Service]\nLoadCredential=store-key:/a/store-key\nSetCredential=store-key:\\n\n"
	for text, want := range map[string]Sealed{
		shipped: {},
		shipped + "\n# drop-in\n[Service]\nLoadCredentialEncrypted=store-key:/a/store-key.cred\n": {"store-key": "/a/store-key.cred"},
		"LoadCredentialEncrypted=\"x:/y:z\"\n":                                                    {"x": "/y:z"},
		"LoadCredentialEncrypted=x:/y\nLoadCredential=x:/z\n":                                     {}, // the last counts
		"LoadCredentialEncrypted=x:/y\nLoadCredentialEncrypted=\n":                                {},
		"#LoadCredentialEncrypted=x:/y\n":                                                         {},
		"LoadCredentialEncrypted=x\n":                                                             {"x": ""},
	} {
		if got := SealedIn(text); !maps.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

// systemctl is that of a host where all runs.
func (w *world) systemctl(_ context.Context, args ...string) (string, error) {
	switch args[0] {
	case "cat":
		return w.unit, nil
	case "show":
		return "ActiveState=inactive\n", nil
	}
	return map[string]string{"is-enabled": "enabled", "is-active": "active"}[args[0]], nil
}

// seal encrypts the credentials, as docs/operations.md says, with a key of the test's.
func (w *world) seal(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("systemd-creds"); err != nil {
		t.Skip("SKIP: there is no systemd-creds")
	}
	t.Setenv("SYSTEMD_CREDENTIAL_SECRET", filepath.Join(t.TempDir(), "secret")) // in place of the host's
	w.unit = "[Service]\n"
	for _, file := range []string{storeKeyFile, secretFile} {
		name := filepath.Base(file)
		text, err := Exec(t.Context(), w.read(file), "systemd-creds", "encrypt", "--with-key=host", "--name="+name, "-", "-")
		must(t, err)
		w.write(t, file+".cred", text, 0o600)
		must(t, os.Remove(filepath.Join(w.root, file)))
		w.unit += "LoadCredentialEncrypted=" + name + ":" + file + ".cred\n"
	}
}

// nothingInClear wants no secret that the forge knows in any file, where they are encrypted.
func (w *world) nothingInClear(t *testing.T) {
	t.Helper()
	if w.unit == "" {
		return
	}
	for name, text := range w.tree(t) {
		for _, app := range w.Apps() {
			if strings.Contains(text, app.ClientSecret) {
				t.Errorf("%s holds a secret in clear", name)
			}
		}
	}
}

// What is encrypted is known, kept, and replaced by what is encrypted.
func TestEncryptedCredentials(t *testing.T) {
	w := newWorld(t)
	_, err := w.run(t, w.options(t))
	must(t, err)
	w.seal(t)
	tree := w.tree(t)
	out, err := w.run(t, Options{})
	if err != nil || !maps.Equal(tree, w.tree(t)) || !strings.Contains(out, "unchanged: "+settingsFile) {
		t.Errorf("%v\n%s", err, out)
	}
	id, dead := w.pair()
	_, err = w.RotateSecret(id)
	must(t, err)
	out, err = w.run(t, w.options(t))
	must(t, err)
	if nowID, secret := w.pair(); nowID != id || secret == dead || !strings.Contains(out, "written: "+secretFile+".cred") {
		t.Errorf("%s: the secret is %v\n%s", nowID, secret == dead, out)
	}
	w.settled(t, 1)
	w.nothingInClear(t)
	if !strings.HasPrefix(w.read(secretFile+".cred"), hostKey) {
		t.Error("it is encrypted with another key than before")
	}
}

// A run that cannot decrypt, or could not encrypt, asks nothing of the forge.
func TestCredentialsThatCannotBeDecrypted(t *testing.T) {
	w := newWorld(t)
	_, err := w.run(t, w.options(t))
	must(t, err)
	w.seal(t)
	id, _ := w.pair()
	_, err = w.RotateSecret(id)
	must(t, err)
	before := w.Apps()[1].ClientSecret
	s, _ := w.new(t, w.options(t))
	s.Exec = func(ctx context.Context, in string, argv ...string) (string, error) {
		if argv[1] == "encrypt" {
			return "", errors.New("no entropy")
		}
		return Exec(ctx, in, argv...)
	}
	if err := s.run(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot encrypt what the forge would answer; it was not asked: no entropy") {
		t.Errorf("got %v", err)
	}
	w.write(t, storeKeyFile+".cred", "nothing that was encrypted", 0o600)
	if _, err := w.run(t, w.options(t)); err == nil || !strings.Contains(err.Error(), "credential store-key: cannot decrypt "+storeKeyFile+".cred") {
		t.Errorf("got %v", err)
	}
	w.unit = strings.ReplaceAll(w.unit, "store-key:"+storeKeyFile+".cred", "store-key")
	if _, err := w.run(t, w.options(t)); !errors.Is(err, ErrElsewhere) {
		t.Errorf("got %v", err)
	}
	if w.Apps()[1].ClientSecret != before {
		t.Error("the forge was asked")
	}
}
