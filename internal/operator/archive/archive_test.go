package archive

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
)

func ring(t testing.TB, letters string) *seal.Keyring {
	t.Helper()
	var keys [][]byte
	for _, l := range letters {
		keys = append(keys, bytes.Repeat([]byte(string(l)), seal.KeySize))
	}
	k, err := seal.NewKeyring(keys[0], keys[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// written is a backup of that database, whatever it is.
func written(t testing.TB, database []byte) []byte {
	t.Helper()
	m := Manifest{
		ID: "abc", Made: time.Date(2026, 12, 1, 2, 3, 4, 5_000_000, time.UTC), Version: "1.2.3 (abc)", Schema: "0014_grant_narrowed",
		PublicURL: "https://mcp.example.org", ForgeURL: "https://git.example.org", Invocation: "0123", Event: 7, Users: 1, Clients: 2, Logins: 3, Sessions: 4,
	}
	if err := m.Measure(bytes.NewReader(database)); err != nil {
		t.Fatal(err)
	}
	r, size, err := m.Reader(bytes.NewReader(database), ring(t, "k"))
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(r)
	if err != nil || int64(len(all)) != size {
		t.Fatalf("%d bytes, of %d: %v", len(all), size, err)
	}
	return all
}

func noise(n int) []byte {
	out := make([]byte, n)
	for i, r := 0, rand.New(rand.NewPCG(1, 2)); i < n; i++ {
		out[i] = byte(r.Uint32())
	}
	return out
}

// taken reports whether a backup would be restored.
func taken(t testing.TB, all []byte) (*Backup, error) {
	t.Helper()
	b, err := Read(bytes.NewReader(all), io.Discard)
	if err == nil {
		err = b.Verify(ring(t, "k"))
	}
	return b, err
}

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 511, 512, 513, 100_000} {
		database := noise(n)
		var out bytes.Buffer
		b, err := Read(bytes.NewReader(written(t, database)), &out)
		if err != nil || !bytes.Equal(out.Bytes(), database) {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if b.Bytes != int64(n) || b.PublicURL != "https://mcp.example.org" || b.Event != 7 || b.Sessions != 4 || b.Key != ring(t, "k").Name() {
			t.Errorf("got %+v", b.Manifest)
		}
		for _, letters := range []string{"k", "nk"} {
			if err := b.Verify(ring(t, letters)); err != nil {
				t.Errorf("keys %s: %v", letters, err)
			}
		}
		if err := b.Verify(ring(t, "n")); !errors.Is(err, ErrKey) {
			t.Errorf("with another key: %v", err)
		}
	}
}

// Cut off anywhere, and with any bit changed, and with anything after it, it is refused.
func TestEachByteCounts(t *testing.T) {
	all := written(t, noise(3000))
	if _, err := taken(t, all); err != nil {
		t.Fatal(err)
	}
	for n := range all {
		if _, err := taken(t, all[:n]); !errors.Is(err, ErrCut) {
			t.Fatalf("cut off after %d of %d bytes: %v", n, len(all), err)
		}
	}
	for i := range all {
		for bit := range 8 {
			all[i] ^= 1 << bit
			if _, err := taken(t, all); err == nil {
				t.Fatalf("bit %d of byte %d is changed, and it is taken", bit, i)
			}
			all[i] ^= 1 << bit
		}
	}
	for _, more := range []string{"\x00", strings.Repeat("\x00", 512), "x", string(all)} {
		if _, err := taken(t, append(bytes.Clone(all), more...)); !errors.Is(err, ErrAltered) {
			t.Errorf("with %d bytes after it: %v", len(more), err)
		}
	}
}

// Who can make the file anew, with sums that fit, has no key to mark it.
func TestForgedIsRefused(t *testing.T) {
	m := Manifest{Made: time.Unix(1, 0), Version: "x"}
	database := []byte("another database")
	if err := m.Measure(bytes.NewReader(database)); err != nil {
		t.Fatal(err)
	}
	r, _, err := m.Reader(bytes.NewReader(database), ring(t, "e"))
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := taken(t, all); !errors.Is(err, ErrKey) {
		t.Errorf("marked with another key: %v", err)
	}
	all = bytes.ReplaceAll(all, []byte(ring(t, "e").Name()), []byte(ring(t, "k").Name()))
	if _, err := taken(t, all); !errors.Is(err, ErrAltered) {
		t.Errorf("and named as ours: %v", err)
	}
}

func TestForeignIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want error
	}{
		"nothing":    {"", ErrCut},
		"a database": {"SQLite format 3\x00" + strings.Repeat("x", 4096), ErrForeign},
		"zeros":      {strings.Repeat("\x00", 4096), ErrCut},
		"newer":      {strings.Replace(string(written(t, nil)), `"format": 1`, `"format": 2`, 1), ErrNewer},
	} {
		if _, err := taken(t, []byte(tc.text)); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// tar(1) takes it apart.
func TestTarReadsIt(t *testing.T) {
	tar, err := exec.LookPath("tar")
	if err != nil {
		t.Skip("there is no tar")
	}
	dir, database := t.TempDir(), noise(1000)
	file := filepath.Join(dir, "b.tar")
	if err := os.WriteFile(file, written(t, database), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tar, "-xf", file, "-C", dir).CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v: %s", err, out)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "fjmcp.db")); err != nil || !bytes.Equal(got, database) {
		t.Errorf("the database in it: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	good := written(f, noise(700))
	f.Add(good)
	f.Add(good[:1000])
	f.Fuzz(func(t *testing.T, all []byte) {
		if _, err := taken(t, all); err == nil && !bytes.Equal(all, good) {
			t.Error("it is taken")
		}
	})
}
