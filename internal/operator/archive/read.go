package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
)

// Errors of a backup that is refused.
var (
	// ErrCut says that the end is missing.
	ErrCut = errors.New("it is cut off: its end is missing")
	// ErrAltered says that it is not what was written.
	ErrAltered = errors.New("it was altered or damaged since it was made")
	// ErrForeign says that something else made it.
	ErrForeign = errors.New("it is no backup of fjmcpctl backup")
	// ErrNewer says that a later version made it.
	ErrNewer = errors.New("a newer version of fjmcp made it")
	// ErrKey says that the store key is another.
	ErrKey = errors.New("it was made with another store key")
)

// Read reads a backup to its end and writes the database in it to database. It returns
// one that is whole and as it says of itself, else one of the errors above, or what r or
// database failed with. That it is genuine only Backup.Verify says: until then the
// database is not to be opened.
func Read(r io.Reader, database io.Writer) (*Backup, error) {
	should, sum := sha256.New(), sha256.New()
	came := &tally{Hash: sha256.New()}
	r = io.TeeReader(r, came)
	b, size, err := read(tar.NewReader(r), io.MultiWriter(database, sum), should)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, err
	}
	switch {
	case came.n < size:
		return nil, ErrCut
	case !bytes.Equal(came.Sum(nil), should.Sum(nil)), hex.EncodeToString(sum.Sum(nil)) != b.SHA256:
		return nil, ErrAltered
	}
	return b, nil
}

// read reads the entries, and writes to should what the whole has to be and to database
// what is in it. It returns how many bytes the whole has to have.
func read(t *tar.Reader, database, should io.Writer) (b *Backup, size int64, err error) {
	first, err := t.Next()
	if err != nil {
		return nil, 0, cause(err, ErrForeign)
	}
	b = &Backup{}
	if b.text, err = small(t, first, manifestName); err != nil {
		return nil, 0, cause(err, ErrForeign)
	}
	if b.Manifest, err = parse(b.text); err != nil {
		return nil, 0, err
	}
	head, err := b.head()
	if err != nil {
		return nil, 0, ErrAltered
	}
	h, err := t.Next()
	if err == nil && (!plain(h, databaseName) || h.Size != b.Bytes) {
		err = ErrAltered
	}
	if err == nil {
		_, _ = should.Write(head)
		_, err = io.Copy(io.MultiWriter(database, should), t)
	}
	if err != nil {
		return nil, 0, cause(err, ErrAltered)
	}
	if h, err = t.Next(); err != nil {
		return nil, 0, cause(err, ErrAltered)
	}
	text, err := small(t, h, markName)
	if err != nil {
		return nil, 0, cause(err, ErrAltered)
	}
	if b.mark, err = hex.DecodeString(strings.TrimSuffix(string(text), "\n")); err != nil {
		return nil, 0, ErrAltered
	}
	tail, err := b.tail()
	if err != nil {
		return nil, 0, ErrAltered
	}
	_, _ = should.Write(tail)
	return b, int64(len(head)) + b.Bytes + int64(len(tail)), nil
}

// plain reports whether an entry can be one that is written here: one that is spelt
// otherwise may be larger than what follows it.
func plain(h *tar.Header, name string) bool {
	return h.Name == name && h.Typeflag == tar.TypeReg && h.Format == tar.FormatGNU
}

// small reads an entry that is not the database.
func small(t *tar.Reader, h *tar.Header, name string) ([]byte, error) {
	if !plain(h, name) || h.Size > maxManifest {
		return nil, tar.ErrHeader
	}
	return io.ReadAll(t)
}

// cause is what an error of reading says of the backup, malformed if it cannot be made out.
func cause(err, malformed error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ErrCut
	case errors.Is(err, tar.ErrHeader):
		return malformed
	}
	return err
}

func parse(text []byte) (m Manifest, err error) {
	if json.Unmarshal(text, &m) != nil || m.Format < 1 || m.Bytes < 0 {
		return m, ErrAltered
	}
	if m.Format > format {
		return m, fmt.Errorf("%w: install fjmcp-broker %s", ErrNewer, m.Version)
	}
	return m, nil
}

// Verify says whether the backup was made by who has one of the keys: nil, ErrKey or
// ErrAltered. It does not say that it is the latest.
func (b *Backup) Verify(keys *seal.Keyring) error {
	switch {
	case !keys.Named(b.Key):
		return fmt.Errorf("%w, %s", ErrKey, b.Key)
	case !keys.Tagged(b.mark, purpose, string(b.text)):
		return ErrAltered
	}
	return nil
}
