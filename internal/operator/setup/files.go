package setup

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
)

// Files of the package.
const (
	settingsFile   = "/etc/fjmcp/broker.env"
	credentialsDir = "/etc/fjmcp/credentials"
	secretFile     = credentialsDir + "/forgejo-client-secret"
	storeKeyFile   = credentialsDir + "/store-key"
	// pendingFile holds an application that the forge has just given out, until all of it
	// is in the files above.
	pendingFile = credentialsDir + "/setup-pending"
)

// files are those below root. Each is at all times either as it was or as it shall be,
// whatever fails.
type files struct {
	root   string
	sealed Sealed                      // credentials that lie elsewhere
	step   func(op, path string) error // a test has a step fail; nil else
}

func (f *files) at(name string) string { return filepath.Join(f.root, name) }

func (f *files) before(op, path string) error {
	if f.step == nil {
		return nil
	}
	return f.step(op, path)
}

// read returns the content of a file; "" for one that is not there.
func (f *files) read(name string) (string, error) {
	b, err := os.ReadFile(f.at(name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(b), err
}

// replace has the file hold text, on the disk, or be as it was. A file that exists keeps
// its owner and mode, and a symbolic link leads where it led.
func (f *files) replace(name, text string, mode fs.FileMode) (err error) {
	path := f.at(name)
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	temp := besides(path)
	out, err := f.create(temp)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			out.Close()
			os.Remove(temp)
		}
	}()
	uid, gid := os.Geteuid(), os.Getegid()
	var st unix.Stat_t
	if unix.Stat(path, &st) == nil {
		uid, gid, mode = int(st.Uid), int(st.Gid), fs.FileMode(st.Mode&0o777)
	}
	if err := errors.Join(out.Chown(uid, gid), out.Chmod(mode), f.fill(out, text), out.Close(), f.before("rename", path)); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return f.syncDir(filepath.Dir(path))
}

// besides is where the content of a file is made.
func besides(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".fjmcp-setup")
}

// tidy removes what a run that was killed has begun and not finished.
func (f *files) tidy() error {
	for _, name := range []string{settingsFile, secretFile, cmp.Or(f.sealed[config.ClientSecretName], secretFile)} {
		if err := os.Remove(besides(f.at(name))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return f.remove(pendingFile)
}

// create makes a file that only its owner reads. One of a run that was killed goes first.
func (f *files) create(path string) (*os.File, error) {
	if err := f.before("create", path); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
}

// fill writes text from the start of a file, to the disk.
func (f *files) fill(out *os.File, text string) error {
	if err := f.before("write", out.Name()); err != nil {
		return err
	}
	if _, err := out.WriteAt([]byte(text), 0); err != nil {
		return err
	}
	if err := f.before("sync", out.Name()); err != nil {
		return err
	}
	return out.Sync()
}

func (f *files) remove(name string) error {
	if err := f.before("remove", f.at(name)); err != nil {
		return err
	}
	if err := os.Remove(f.at(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return f.syncDir(filepath.Dir(f.at(name)))
}

func (f *files) syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// reserved is how much room a pending application gets beforehand, in bytes, also where it
// is encrypted.
const reserved = 8192

// reserve makes pendingFile with room for what the forge will answer, so that a full disk
// shows before the forge is asked.
func (f *files) reserve() (*os.File, error) {
	out, err := f.create(f.at(pendingFile))
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.fill(out, strings.Repeat(" ", reserved)), f.syncDir(f.at(credentialsDir))); err != nil {
		out.Close()
		os.Remove(out.Name())
		return nil, err
	}
	return out, nil
}

// lock keeps a second run out, until the returned function is called.
func (f *files) lock() (unlock func(), err error) {
	dir, err := os.Open(f.at(credentialsDir))
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w; is the package installed?", f.at(credentialsDir), innermost(err))
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		dir.Close()
		return nil, errors.New("another fjmcpctl setup is running; wait for its end")
	}
	return func() { dir.Close() }, nil
}

func innermost(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// accesses are those of the package, and of what is encrypted.
func (f *files) accesses() []access {
	all := []access{{credentialsDir, 0o077}, {secretFile, 0o077}, {storeKeyFile, 0o077}, {settingsFile, 0o022}}
	for _, name := range slices.Sorted(maps.Keys(f.sealed)) {
		all = append(all, access{f.sealed[name], 0o077})
	}
	return all
}

// access is what a file or directory has to be like.
type access struct {
	name      string
	forbidden fs.FileMode // bits of its mode
}

// mend takes from others what is not theirs, and says of which files it did, or would if
// only looking. Files that are not there are passed over.
func (f *files) mend(look bool) (mended []string, err error) {
	for _, a := range f.accesses() {
		path := f.at(a.name)
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil {
			continue
		}
		mode, owner := fs.FileMode(st.Mode&0o777), int(st.Uid) == os.Geteuid()
		if mode&a.forbidden == 0 && owner {
			continue
		}
		mended = append(mended, a.name)
		if look {
			continue
		}
		if err := f.before("mode", path); err != nil {
			return mended, err
		}
		if err := os.Chown(path, os.Geteuid(), os.Getegid()); err != nil {
			return mended, err
		}
		if err := os.Chmod(path, mode&^a.forbidden); err != nil {
			return mended, err
		}
	}
	return mended, nil
}
