// Package release makes what operators install from: releases and apt repositories, signed
// with throw-away keys. Its tests hold what `make release` makes, and have apt install from
// it on Debian 12 and 13.
package release

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// top is the repository, as tests see it from their package's folder.
const top = "../../.."

// Key is a throw-away OpenPGP key. Remove takes it away.
type Key struct {
	Home        string // $GNUPGHOME
	Fingerprint string
}

// NewKey makes a key without a passphrase, in a directory of its own.
func NewKey(ctx context.Context) (*Key, error) {
	home, err := os.MkdirTemp("", "fjmcp-key-") // with mode 0700, and short: agents listen in it
	if err != nil {
		return nil, err
	}
	k := &Key{Home: home}
	if _, err := k.gpg(ctx, "--passphrase", "", "--quick-generate-key", "Throw-away key of a test", "ed25519", "sign", "never"); err != nil {
		return nil, errors.Join(err, k.Remove())
	}
	listing, err := k.gpg(ctx, "--with-colons", "--list-keys")
	for line := range strings.Lines(listing) {
		if fields := strings.Split(line, ":"); fields[0] == "fpr" {
			k.Fingerprint = fields[9]
		}
	}
	if err != nil || k.Fingerprint == "" {
		return nil, errors.Join(fmt.Errorf("cannot find the new key in:\n%s", listing), err, k.Remove())
	}
	return k, nil
}

// Env is the environment for programs that sign with the key.
func (k *Key) Env() []string {
	return append(os.Environ(), "GNUPGHOME="+k.Home, "SIGN_KEY="+k.Fingerprint)
}

// Remove ends the key's agent and removes the key.
func (k *Key) Remove() error {
	cmd := exec.Command("gpgconf", "--kill", "gpg-agent")
	cmd.Env = k.Env()
	return errors.Join(cmd.Run(), os.RemoveAll(k.Home))
}

func (k *Key) gpg(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "gpg", append([]string{"--batch", "--quiet"}, args...)...)
	cmd.Env = k.Env()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("gpg: %w\n%s", err, out)
	}
	return string(out), nil
}

// Repository is a signed apt repository in a directory. As a handler it serves itself.
type Repository struct {
	Dir string
	Key []byte // the public key, armored
}

// NewRepository makes an apt repository of packages in dir.
func NewRepository(ctx context.Context, dir string, k *Key, debs ...string) (*Repository, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(top, "packaging/apt-repository"), append([]string{dir}, debs...)...)
	cmd.Env = k.Env()
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("packaging/apt-repository: %w\n%s", err, out)
	}
	return Open(dir)
}

// Open is the signed repository that there is in dir.
func Open(dir string) (*Repository, error) {
	key, err := os.ReadFile(filepath.Join(dir, "fjmcp-broker.asc"))
	return &Repository{Dir: dir, Key: key}, err
}

// ServeHTTP serves the repository's files.
func (r *Repository) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	http.FileServer(http.Dir(r.Dir)).ServeHTTP(w, req)
}
