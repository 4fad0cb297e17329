package nspawn

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
)

// within has a file of the container used, by its name below the container's root.
// os.Root refuses absolute links (/var/run), which would lead out of the container to the
// host's files.
func (c *Container) within(name string, use func(root *os.Root, name string) error) error {
	root, err := os.OpenRoot(fmt.Sprintf("/proc/%d/root", c.leader))
	if err == nil {
		defer root.Close()
		err = use(root, strings.TrimPrefix(path.Clean("/"+name), "/"))
	}
	if err != nil {
		return fmt.Errorf("in the container: %w", err)
	}
	return nil
}

// WriteFile writes a file of the container, owned by root, with exactly this
// mode, making the directories above it. It replaces rather than overwrites: a program
// that is running can be replaced, not written to.
func (c *Container) WriteFile(name string, data []byte, mode fs.FileMode) error {
	return c.within(name, func(r *os.Root, name string) error {
		if err := r.MkdirAll(path.Dir(name), 0o755); err != nil {
			return err
		}
		if err := r.WriteFile(name+".new", data, 0o600); err != nil {
			return err
		}
		if err := r.Chmod(name+".new", mode); err != nil {
			return err
		}
		return r.Rename(name+".new", name)
	})
}

// CopyIn copies a file of the host into the container, as WriteFile does.
func (c *Container) CopyIn(hostPath, name string, mode fs.FileMode) error {
	data, err := os.ReadFile(hostPath)
	if err != nil {
		return err
	}
	return c.WriteFile(name, data, mode)
}

// ReadFile reads a file of the container.
func (c *Container) ReadFile(name string) (data []byte, err error) {
	err = c.within(name, func(r *os.Root, name string) (err error) {
		data, err = r.ReadFile(name)
		return err
	})
	return data, err
}

// Remove removes a file of the container; it may be absent.
func (c *Container) Remove(name string) error {
	return c.within(name, (*os.Root).RemoveAll)
}
