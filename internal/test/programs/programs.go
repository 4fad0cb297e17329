// Package programs builds the programs that tests run: the product's, and backends to
// stand where forgejo-mcp would. Each test package builds those that it names, once,
// so that no test runs what was built from other sources.
package programs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

const module = "github.com/fjmcp/fjmcp-broker/"

// The names of the backends.
const (
	Standin    = "standin"    // package fakemcp
	Many       = "many"       // the same with some 130 tools more, as many as forgejo-mcp has
	Old        = "old"        // the same as a forgejo-mcp that is too old, 2.17.0
	Everything = "everything" // the Go SDK's everything-server, on stdio
	Held       = "held"       // that server, held to MCP 2025-11-25 (package hold)
)

// Build puts the programs of these names into dir, those of the product by the names of
// their folders in cmd.
func Build(ctx context.Context, dir string, names ...string) error {
	for _, name := range names {
		if err := buildOne(ctx, filepath.Join(dir, name), name); err != nil {
			return fmt.Errorf("cannot build %s: %w", name, err)
		}
	}
	return nil
}

func buildOne(ctx context.Context, out, name string) error {
	const fake = module + "internal/test/fakemcp"
	args := []string{"build", "-o", out}
	switch name {
	case Everything:
		return buildEverything(ctx, out, map[string]string{"flags.go": flags})
	case Held:
		return buildEverything(ctx, out, map[string]string{"flags.go": flags, "held.go": held})
	case Standin:
		args = append(args, fake)
	case Many:
		args = append(args, "-ldflags", "-X main.more=130", fake)
	case Old:
		args = append(args, "-ldflags", "-X main.reported=2.17.0 -X 'main.name=Forgejo MCP Server'", fake)
	default:
		args = append(args, module+"cmd/"+name)
	}
	_, err := run(ctx, "", nil, args...)
	return err
}

// Main is the whole of a TestMain whose tests run programs: it has them built into a
// directory, which it names in dir, and returns the exit status.
func Main(m *testing.M, dir *string, names ...string) int {
	var err error
	if *dir, err = os.MkdirTemp("", "fjmcp-test-"); err == nil {
		defer os.RemoveAll(*dir)
		err = Build(context.Background(), *dir, names...)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
