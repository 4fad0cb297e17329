package nspawn

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// root opens the container's root. os.Root refuses absolute links (/var/run),
// which would lead out of the container to the host's files.
func (c *Container) root() (*os.Root, error) {
	r, err := os.OpenRoot(fmt.Sprintf("/proc/%d/root", c.leader))
	if err != nil {
		return nil, fmt.Errorf("cannot open the container's root: %w", err)
	}
	return r, nil
}

// WriteFile writes a file of the container, owned by root, with exactly this
// mode, making the directories above it.
func (c *Container) WriteFile(name string, data []byte, mode fs.FileMode) error {
	return c.write(name, strings.NewReader(string(data)), mode)
}

// CopyIn copies a file of the host into the container, as WriteFile does.
func (c *Container) CopyIn(hostPath, name string, mode fs.FileMode) error {
	f, err := os.Open(hostPath)
	if err != nil {
		return err
	}
	defer f.Close()
	return c.write(name, f, mode)
}

// ReadFile reads a file of the container.
func (c *Container) ReadFile(name string) ([]byte, error) {
	r, err := c.root()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.ReadFile(relative(name))
}

// Remove removes a file of the container; it may be absent.
func (c *Container) Remove(name string) error {
	r, err := c.root()
	if err != nil {
		return err
	}
	defer r.Close()
	return r.RemoveAll(relative(name))
}

// write replaces rather than overwrites: a program that is running can be
// replaced, not written to.
func (c *Container) write(name string, src io.Reader, mode fs.FileMode) error {
	r, err := c.root()
	if err != nil {
		return err
	}
	defer r.Close()
	name = relative(name)
	if err := r.MkdirAll(path.Dir(name), 0o755); err != nil {
		return fmt.Errorf("cannot write in the container: %w", err)
	}
	tmp := name + ".new"
	f, err := r.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("cannot write in the container: %w", err)
	}
	if err := fill(f, src, mode); err != nil {
		return fmt.Errorf("cannot write %s in the container: %w", name, err)
	}
	return r.Rename(tmp, name)
}

func fill(f *os.File, src io.Reader, mode fs.FileMode) error {
	defer f.Close()
	if _, err := io.Copy(f, src); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	return f.Close()
}

func relative(name string) string {
	return strings.TrimPrefix(path.Clean("/"+name), "/")
}
