// Command fakemcp is an MCP server on stdio that stands where forgejo-mcp would in
// tests: same flags, same way to the forge (REST below /api/v1, proxies and CA
// certificates from the environment, no token), a handful of its tools, and some of
// its own that misbehave or look around. Tests and make run build it.
//
// Like forgejo-mcp it asks for /api/v1/version once at start and exits with
// status 1 when that fails.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// reported is the version it says it is; tests of old backends overwrite it with
// the linker.
var reported = "2.34.1"

// name is what it calls itself in initialize, overwritten likewise.
var name = "fjmcp-standin"

// more is how many tools it has besides those that do something; benchmarks
// overwrite it so that its tools/list is as long as forgejo-mcp's.
var more = "0"

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "fjmcp-standin:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("fjmcp-standin", flag.ContinueOnError)
	transport := flags.String("transport", "stdio", "only stdio")
	url := flags.String("url", "", "URL of the forge")
	agent := flags.String("user-agent", "fjmcp-standin", "User-Agent of requests to the forge")
	printVersion := flags.Bool("version", false, "print the version and exit")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *printVersion {
		_, err := fmt.Fprintln(out, name, reported)
		return err
	}
	if *transport != "stdio" || *url == "" {
		return errors.New("want --transport stdio --url URL")
	}
	n, err := strconv.Atoi(more)
	if err != nil {
		return err
	}
	f := &forge{url: *url, agent: *agent}
	text, err := f.call(ctx, http.MethodGet, "/version", nil)
	var v struct{ Version string }
	if err == nil && (json.Unmarshal([]byte(text), &v) != nil || v.Version == "") {
		err = errors.New("it gave no version")
	}
	if err != nil {
		return fmt.Errorf("cannot use the forge at %s: %w", *url, err)
	}
	fmt.Fprintf(os.Stderr, "\x1b[32mINF\x1b[0m serving %s (Forgejo %s) on stdio\n", *url, v.Version)
	err = newServer(f, n).Run(ctx, &mcp.StdioTransport{})
	if err == nil {
		fmt.Fprintln(os.Stderr, "its input has ended")
	}
	return err
}
