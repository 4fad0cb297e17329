// Package backend finds the operator's files that sessions use: the forgejo-mcp
// binary and, with File, a CA file. It looks at the disk anew at each call, so
// that installing a missing file is all the cure it takes.
package backend

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Variable names the setting that Find honours.
const Variable = "FJMCP_BROKER_FORGEJO_MCP"

// searched is where forgejo-mcp is looked for, in this order.
var searched = []string{"/usr/bin/forgejo-mcp", "/usr/local/bin/forgejo-mcp"}

// Find returns the path of the forgejo-mcp binary with symbolic links resolved:
// configured, the value of Variable, or where that is empty
// /usr/bin/forgejo-mcp, else /usr/local/bin/forgejo-mcp. The error is for the
// operator: it names what was looked at and what to do.
func Find(configured string) (string, error) {
	if configured != "" {
		path, err := File(configured)
		if err != nil {
			return "", fmt.Errorf("cannot find forgejo-mcp: %s=%q: %w; install it there or correct the setting", Variable, configured, err)
		}
		return path, nil
	}
	for _, candidate := range searched {
		path, err := File(candidate)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("cannot use forgejo-mcp at %s: %w", candidate, err)
		}
	}
	return "", fmt.Errorf("cannot find forgejo-mcp: neither %s exists; install it there or set %s",
		strings.Join(searched, " nor "), Variable)
}

// File returns path with symbolic links resolved, or why it is no regular file.
// The error does not repeat path.
func File(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", errors.New("want an absolute path")
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", reason(err)
	}
	info, err := os.Stat(real)
	if err != nil {
		return "", reason(err)
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("not a regular file")
	}
	return real, nil
}

func reason(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Stamp tells one state of a file from another: another file, other content, another mode.
func Stamp(path string) string {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return path + ": " + err.Error()
	}
	return fmt.Sprintf("%s %d %d %d.%09d", path, st.Dev, st.Ino, st.Ctim.Sec, st.Ctim.Nsec)
}
