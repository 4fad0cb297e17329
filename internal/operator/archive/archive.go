// Package archive is the file that a backup of the broker is: a tar(5) of the database, of
// what is known of it, and of a mark that only the store key makes. tar(1) lists it, and
// sqlite3(1) opens what is in it.
//
// Whoever could change a backup unnoticed could give one person's client another person's
// access, without any key. So each byte counts: a file is what Write would make of the same
// contents, or it is refused.
package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
)

// Manifest says what a backup is of.
type Manifest struct {
	Format    int       `json:"format"` // 1
	ID        string    `json:"id"`     // names this backup in the audit
	Made      time.Time `json:"made"`   // the database is as it was then, or moments later
	Version   string    `json:"version"`
	Schema    string    `json:"schema"` // the latest migration
	PublicURL string    `json:"public_url"`
	ForgeURL  string    `json:"forgejo_url"`
	Key       string    `json:"store_key"` // seal.Keyring.Name of what the database is sealed with

	// The last event of the audit before Made, by FJMCP_NUMBER, and whose it is, by
	// _SYSTEMD_INVOCATION_ID; empty for a broker that systemd has not started, and for a
	// database that none had open.
	Invocation string `json:"invocation,omitempty"`
	Event      int64  `json:"event,omitempty"`

	Users    int    `json:"users"`
	Clients  int    `json:"clients"`
	Logins   int    `json:"logins"`
	Sessions int    `json:"sessions"`
	Bytes    int64  `json:"bytes"` // of the database
	SHA256   string `json:"sha256"`
}

// format is the one that is written here.
const format = 1

// Names in the archive, in their order.
const (
	manifestName = "manifest.json"
	databaseName = "fjmcp.db"
	markName     = "hmac-sha256"
)

// maxManifest is more than any manifest has, bytes.
const maxManifest = 64 << 10

// purpose is what the key is for that marks.
const purpose = "backup 1"

// Backup is what Read found.
type Backup struct {
	Manifest
	text []byte // of the manifest
	mark []byte
}

// Measure fills in size and SHA-256 of a database, which it reads from its beginning.
func (m *Manifest) Measure(database io.ReadSeeker) error {
	sum := sha256.New()
	_, err := database.Seek(0, io.SeekStart)
	if err == nil {
		m.Bytes, err = io.Copy(sum, database)
	}
	if err != nil {
		return fmt.Errorf("cannot read the copy of the database: %w", err)
	}
	m.Format, m.SHA256 = format, hex.EncodeToString(sum.Sum(nil))
	return nil
}

// Reader returns the archive of a database that was measured, and its size.
func (m Manifest) Reader(database io.ReadSeeker, keys *seal.Keyring) (io.Reader, int64, error) {
	m.Key = keys.Name()
	text, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		return nil, 0, err
	}
	if _, err := database.Seek(0, io.SeekStart); err != nil {
		return nil, 0, err
	}
	b := Backup{Manifest: m, text: text, mark: keys.Tag(purpose, string(text))}
	head, err := b.head()
	if err != nil {
		return nil, 0, err
	}
	tail, err := b.tail()
	if err != nil {
		return nil, 0, err
	}
	all := io.MultiReader(bytes.NewReader(head), io.LimitReader(database, m.Bytes), bytes.NewReader(tail))
	return all, int64(len(head)) + m.Bytes + int64(len(tail)), nil
}

// head is what comes before the database.
func (b *Backup) head() ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := b.entry(w, manifestName, b.text); err != nil {
		return nil, err
	}
	err := w.WriteHeader(b.header(databaseName, b.Bytes))
	return out.Bytes(), err
}

// tail is what comes after it.
func (b *Backup) tail() ([]byte, error) {
	var out bytes.Buffer
	out.Write(make([]byte, -b.Bytes&511)) // tar(5): blocks of 512 bytes
	w := tar.NewWriter(&out)
	if err := b.entry(w, markName, []byte(hex.EncodeToString(b.mark)+"\n")); err != nil {
		return nil, err
	}
	err := w.Close()
	return out.Bytes(), err
}

func (b *Backup) header(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: b.Made.Truncate(time.Second), Format: tar.FormatGNU}
}

func (b *Backup) entry(w *tar.Writer, name string, text []byte) error {
	if err := w.WriteHeader(b.header(name, int64(len(text)))); err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	return w.Flush()
}

// tally is a hash that counts.
type tally struct {
	hash.Hash
	n int64
}

// Write implements io.Writer.
func (t *tally) Write(p []byte) (int, error) {
	t.n += int64(len(p))
	return t.Hash.Write(p)
}
