// Command try is `make run` and `make demo`: the broker with one login and one tool call
// through it, which it prints step by step, for a real client to try thereafter.
//
// It starts the broker with its embedded defaults (process launcher, SQLite) beside the
// fake forge. With -deb it installs the package in a Debian 12 container that systemd
// runs, and shows what an operator sees: units, exposure, audit; this needs root. With
// -forge it serves the fake forge alone.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

func main() {
	var t try
	flag.BoolVar(&t.once, "once", false, "end after one login and one tool call")
	flag.StringVar(&t.backend, "forgejo-mcp", "", "path of a real forgejo-mcp; the built-in stand-in without it")
	flag.StringVar(&t.policy, "policy", "", "path of a policy, in force from the start")
	flag.StringVar(&t.deb, "deb", "", "install this package in a container")
	forge := flag.String("forge", "", "serve the fake forge alone, at this `address`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := t.run(ctx, *forge); err != nil {
		fmt.Fprintln(os.Stderr, "try:", err)
		os.Exit(1)
	}
}

// try is one way through the tour.
type try struct {
	once         bool
	backend, deb string
	policy       string // absolute path; "" for none
	step         int
}

func (t *try) run(ctx context.Context, forge string) error {
	if forge != "" {
		return serveForge(forge)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bin := filepath.Dir(self)
	if t.backend, err = filepath.Abs(cmp.Or(t.backend, filepath.Join(bin, "fjmcp-standin"))); err != nil {
		return err
	}
	if t.policy != "" {
		if t.policy, err = filepath.Abs(t.policy); err != nil {
			return err
		}
	}
	if t.deb != "" {
		return t.demo(ctx)
	}
	return t.local(ctx, filepath.Join(bin, "fjmcp-broker"))
}

func serveForge(address string) error {
	forge, err := fakeforge.New(fakeforge.Config{})
	if err != nil {
		return err
	}
	fmt.Printf("a fake forge at http://%s with these accounts:\n", address)
	for _, u := range fakeforge.DefaultUsers {
		fmt.Printf("  %s, password %s\n", u.Name, u.Password)
	}
	return http.ListenAndServe(address, forge)
}
