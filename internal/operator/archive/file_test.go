package archive

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// only reports what is in a directory, by its one file.
func only(t *testing.T, dir string) string {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil || len(all) != 1 {
		t.Fatalf("there are %v, %v", all, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, all[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestSave(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "b.tar")
	good := written(t, noise(2000))
	fill := func(all []byte, err error) func(io.Writer) error {
		return func(w io.Writer) error {
			_, _ = w.Write(all)
			return err
		}
	}
	b, err := Save(path, false, fill(good, nil))
	if err != nil || b.Users != 1 || only(t, dir) != string(good) {
		t.Fatalf("%+v, %v", b, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := Save(path, false, fill(written(t, nil), nil)); !errors.Is(err, fs.ErrExist) || only(t, dir) != string(good) {
		t.Errorf("over another: %v", err)
	}
	// One that has come meanwhile is not replaced either.
	if err := name(filepath.Join(dir, "b.tar"), path, false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over another that has come meanwhile: %v", err)
	}
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		fill func(io.Writer) error
		want error
	}{
		"cut off": {fill(good[:len(good)-1], nil), ErrCut}, "altered": {fill(append([]byte("x"), good[1:]...), nil), ErrForeign}, "failed": {fill(good, broken), broken},
	} {
		if _, err := Save(path, true, tc.fill); !errors.Is(err, tc.want) || only(t, dir) != string(good) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Save(path, true, fill(written(t, nil), nil)); err != nil || only(t, dir) == string(good) {
		t.Errorf("with replace: %v", err)
	}
	if _, err := Save(dir, true, fill(good, nil)); err == nil {
		t.Error("a directory is replaced")
	}
}
