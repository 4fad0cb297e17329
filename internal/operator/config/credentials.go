package config

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// packageCredentials is where the Debian package keeps secrets; the unit hands
// them over through $CREDENTIALS_DIRECTORY.
const packageCredentials = "/etc/fjmcp/credentials"

// Names of credentials.
const (
	ClientSecretName = "forgejo-client-secret"
	StoreKeyName     = "store-key"
	StoreKeyOldName  = "store-key-old"
)

// Credential is one that was read elsewhere, as from an encrypted file.
type Credential struct {
	Value []byte
	File  string // in which an operator mends it
}

// credential returns the credential's bytes and the file that an operator has to mend:
// under the package's unit that is the source of the credential, not systemd's copy.
// Missing and empty are the same: the unit supplies an empty default.
func (l *loader) credential(name string) ([]byte, string) {
	if c, ok := l.given[name]; ok {
		return c.Value, c.File
	}
	dir := cmp.Or(l.env["CREDENTIALS_DIRECTORY"], packageCredentials)
	b, _ := os.ReadFile(filepath.Join(dir, name))
	if strings.HasPrefix(dir, "/run/credentials/") {
		dir = packageCredentials
	}
	return b, filepath.Join(dir, name)
}

func (l *loader) clientSecret() string {
	b, path := l.credential(ClientSecretName)
	secret := strings.TrimSpace(string(b))
	switch {
	case secret == "":
		l.fault("credential %s is missing or empty; write the client secret of the forge's OAuth2 application to %s (owner root, "+
			"mode 0600)", ClientSecretName, path)
	case strings.ContainsAny(secret, " \t\r\n"):
		l.fault("credential %s: want the client secret alone on one line in %s", ClientSecretName, path)
	}
	return secret
}

func (l *loader) storeKey() ([]byte, string) {
	b, path := l.credential(StoreKeyName)
	switch {
	case len(bytes.TrimSpace(b)) == 0:
		l.fault("credential %s is missing or empty; restore it from your backup, or where there is no database yet make it once with: (umask 077; head -c 32 /dev/urandom >%s)", StoreKeyName, path)
	case len(b) != 32:
		l.fault("credential %s: want exactly 32 bytes in %s, found %d; restore it from your backup (without it the sealed rows "+
			"of the database cannot be read)", StoreKeyName, path, len(b))
	}
	return b, path
}

// storeKeysOld reads the keys that are still needed to read, one after the other
// in one file. Most of the time there are none.
func (l *loader) storeKeysOld() [][]byte {
	b, path := l.credential(StoreKeyOldName)
	if len(bytes.TrimSpace(b)) == 0 {
		return nil
	}
	if len(b)%32 != 0 {
		l.fault("credential %s: want keys of exactly 32 bytes, one after the other, in %s, found %d bytes; put the file there "+
			"that store-key was before", StoreKeyOldName, path, len(b))
		return nil
	}
	return slices.Collect(slices.Chunk(b, 32))
}

// WrongStoreKey is what is wrong where neither store-key nor store-key-old is the key of
// the database at that path.
func (c *Config) WrongStoreKey(database string) *Error {
	return &Error{Faults: []string{fmt.Sprintf("credential %s: it is not the key of %s and opens nothing there; restore the key from your backup to %s. "+
		"If you are changing the key, the former one must stay in %s until fjmcpctl key rotate has run. If it is lost, move the database away: all users log in anew",
		StoreKeyName, database, c.storeKeyFile, StoreKeyOldName)}}
}
