package setup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
)

// Sealed are credentials that a unit has systemd decrypt: of each name the file that
// systemd-creds(1) has made (LoadCredentialEncrypted= in systemd.exec(5)).
type Sealed map[string]string

// SealedIn reads a unit with its drop-ins as systemctl cat shows them.
func SealedIn(unit string) Sealed {
	all := Sealed{}
	for line := range strings.Lines(unit) {
		directive, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		name, file, _ := strings.Cut(strings.Trim(value, `"`), ":")
		switch directive {
		case "LoadCredential", "LoadCredentialEncrypted": // of one name the last counts
			delete(all, name)
			if value == "" {
				clear(all)
			} else if directive == "LoadCredentialEncrypted" {
				all[name] = file
			}
		}
	}
	return all
}

// Runner runs a program with that standard input and returns its standard output.
type Runner func(ctx context.Context, in string, argv ...string) (out string, err error)

// Exec is a Runner for this machine. An error ends with what the program said last.
func Exec(ctx context.Context, in string, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "SYSTEMD_COLORS=0")
	cmd.Stdin = strings.NewReader(in)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	if lines := strings.Split(strings.TrimSpace(said.String()), "\n"); err != nil && lines[len(lines)-1] != "" {
		err = fmt.Errorf("%s: %w: %s", argv[0], err, lines[len(lines)-1])
	}
	return out.String(), err
}

// ErrElsewhere is of a credential whose file the unit does not name in full.
var ErrElsewhere = errors.New("the unit does not name its file in full (LoadCredentialEncrypted=), so that only systemd finds it")

// Open decrypts those credentials of the broker that are sealed, with files below root. One
// whose file is not there is empty.
func (s Sealed) Open(ctx context.Context, run Runner, root string) (map[string]config.Credential, error) {
	all := map[string]config.Credential{}
	for _, name := range []string{config.ClientSecretName, config.StoreKeyName, config.StoreKeyOldName} {
		file, sealed := s[name]
		if !sealed {
			continue
		}
		value, err := s.open(ctx, run, root, name)
		if err != nil {
			return nil, err
		}
		all[name] = config.Credential{Value: []byte(value), File: file + " (encrypted: systemd-creds encrypt --name=" + name + ")"}
	}
	return all, nil
}

func (s Sealed) open(ctx context.Context, run Runner, root, name string) (string, error) {
	if !filepath.IsAbs(s[name]) {
		return "", fmt.Errorf("credential %s: %w", name, ErrElsewhere)
	}
	file := filepath.Join(root, s[name])
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	text, err := run(ctx, "", "systemd-creds", "decrypt", "--name="+name, file, "-")
	if err != nil {
		err = fmt.Errorf("credential %s: cannot decrypt %s: %w", name, s[name], err)
	}
	return text, err
}

// hostKey is how files begin that are encrypted with a key of the host alone, which is
// in /var/lib/systemd/credential.secret.
const hostKey = "Whxqht+dQJax1aZeCGLxm"

// encrypt encrypts text with a key of the kind that the file like is encrypted with.
func (s *setup) encrypt(ctx context.Context, name, text, like string) (string, error) {
	key := "auto" // with the TPM where there is one
	if b, err := s.files.read(like); err == nil && strings.HasPrefix(b, hostKey) {
		key = "host"
	}
	return s.Exec(ctx, text, "systemd-creds", "encrypt", "--with-key="+key, "--name="+name, "-", "-")
}

// secretAt is the file of the client secret.
func (s *setup) secretAt() string {
	if file, sealed := s.sealed[config.ClientSecretName]; sealed {
		return file
	}
	return secretFile
}

// secret is what the file of the client secret holds, "" for one that is not there.
func (s *setup) secret(ctx context.Context) (text string, err error) {
	if _, sealed := s.sealed[config.ClientSecretName]; sealed {
		text, err = s.sealed.open(ctx, s.Exec, s.Root, config.ClientSecretName)
	} else if text, err = s.files.read(secretFile); err != nil {
		err = fmt.Errorf("cannot read %s: %w", secretFile, innermost(err))
	}
	return strings.TrimSpace(text), err
}

// closed is text as it may lie on the disk: encrypted where the client secret is.
func (s *setup) closed(ctx context.Context, name, text string) (string, error) {
	file, sealed := s.sealed[config.ClientSecretName]
	if !sealed {
		return text, nil
	}
	if b, err := s.files.read(file); err != nil || b == "" {
		file = s.sealed[config.StoreKeyName]
	}
	return s.encrypt(ctx, name, text, file)
}
