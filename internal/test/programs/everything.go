package programs

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const server = "github.com/modelcontextprotocol/go-sdk/conformance/everything-server"

// flags makes the server take the options every backend is started with. Its
// own main is compiled beside this, unchanged.
const flags = `package main

import "flag"

func init() {
	flag.String("transport", "stdio", "ignored")
	flag.String("url", "", "ignored")
	flag.String("user-agent", "", "ignored")
}
`

// held puts package hold on the server's standard streams.
const held = `package main

import "github.com/fjmcp/fjmcp-broker/internal/test/programs/hold"

func init() {
	if err := hold.Stdio(); err != nil {
		panic(err)
	}
}
`

// buildEverything compiles the main of the server, which nobody here wrote, together with
// further files.
func buildEverything(ctx context.Context, out string, files map[string]string) error {
	root, err := golist(ctx, "-m", "-f", "{{.Dir}}")
	if err != nil {
		return err
	}
	source, err := golist(ctx, "-f", "{{.Dir}}", server)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "everything-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	virtual := filepath.Join(root, "internal/test/programs/server") // a package that exists in the overlay only
	replace := map[string]string{filepath.Join(virtual, "main.go"): filepath.Join(source, "main.go")}
	for name, text := range files {
		path := filepath.Join(dir, name)
		replace[filepath.Join(virtual, name)] = path
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	overlay, _ := json.Marshal(map[string]map[string]string{"Replace": replace})
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, overlay, 0o600); err != nil {
		return err
	}
	_, err = run(ctx, root, static, "build", "-overlay", path, "-o", out, "./internal/test/programs/server")
	return err
}

// static has programs built that need no library of the system.
var static = []string{"CGO_ENABLED=0"}

func golist(ctx context.Context, args ...string) (string, error) {
	return run(ctx, "", static, append([]string{"list"}, args...)...)
}

func run(ctx context.Context, dir string, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w: %s", args[0], err, stderr.String())
	}
	return strings.TrimSpace(string(stdout)), nil
}
