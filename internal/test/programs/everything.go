package programs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/test/testcache"
)

const (
	sdk    = "github.com/modelcontextprotocol/go-sdk"
	server = "conformance/everything-server"

	revision = `protocolVersion20260728 = "2026-07-28"` // in shared.go of the SDK
	unknown  = `protocolVersion20260728 = "9999-12-31"`
)

// flags makes the server take the options every backend is started with.
const flags = `package main

import "flag"

func init() {
	flag.String("transport", "stdio", "ignored")
	flag.String("url", "", "ignored")
	flag.String("user-agent", "", "ignored")
}
`

// buildEverything compiles the Go SDK's server, which nobody here wrote, from a copy of
// the SDK with the flags beside its main. The copy stays where it is: so does what the
// compiler made of it.
func buildEverything(ctx context.Context, out string, held bool) error {
	root, err := run(ctx, "", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return err
	}
	source, err := run(ctx, "", "list", "-m", "-f", "{{.Dir}}", sdk)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(flags + revision + unknown))
	name := fmt.Sprintf("%s-%t-%x", filepath.Base(source), held, sum[:4])
	dir, err := testcache.Get(name, func(dir string) error {
		if err := os.CopyFS(filepath.Join(dir, "sdk"), os.DirFS(source)); err != nil {
			return err
		}
		if held {
			if err := hold(filepath.Join(dir, "sdk/mcp/shared.go")); err != nil {
				return err
			}
		}
		return os.WriteFile(filepath.Join(dir, "sdk", server, "flags.go"), []byte(flags), 0o600)
	})
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "everything-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	mod, err1 := os.ReadFile(filepath.Join(root, "go.mod"))
	sums, err2 := os.ReadFile(filepath.Join(root, "go.sum"))
	err = errors.Join(err1, err2,
		os.WriteFile(filepath.Join(temp, "go.mod"), fmt.Appendf(mod, "\nreplace %s => %s/sdk\n", sdk, dir), 0o600),
		os.WriteFile(filepath.Join(temp, "go.sum"), sums, 0o600))
	if err == nil {
		_, err = run(ctx, root, "build", "-modfile", filepath.Join(temp, "go.mod"), "-o", out, sdk+"/"+server)
	}
	return err
}

// hold has the SDK take a revision of the far future for what 2026-07-28 is, so that it
// knows nothing after 2025-11-25.
func hold(path string) error {
	text, err := os.ReadFile(path)
	if err == nil && bytes.Count(text, []byte(revision)) != 1 {
		err = fmt.Errorf("the SDK no longer has %s: see what makes it look older now", revision)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path, bytes.Replace(text, []byte(revision), []byte(unknown), 1), 0o600)
}

// run runs the go command. What it builds needs no library of the system.
func run(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w: %s", args[0], err, stderr.String())
	}
	return strings.TrimSpace(string(stdout)), nil
}
