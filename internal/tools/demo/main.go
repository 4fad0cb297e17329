// Command demo is `make demo`: the built package installed in a Debian 12
// container that systemd runs, one login and one tool call through it, then what
// an operator sees: units, exposure, audit. It needs root.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/fjmcp/fjmcp-broker/internal/test/e2e"
	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
	"github.com/fjmcp/fjmcp-broker/internal/tools/tour"
)

func main() {
	var o e2e.Options
	once := flag.Bool("once", false, "end after one login and one tool call")
	flag.StringVar(&o.Deb, "deb", "", "the package to install")
	flag.StringVar(&o.Backend, "forgejo-mcp", "bin/fjmcp-standin", "program that stands at /usr/bin/forgejo-mcp")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := demo(ctx, o, *once); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context, o e2e.Options, once bool) (err error) {
	if err := nspawn.Check(); err != nil {
		return fmt.Errorf("the demo needs a container: %w", err)
	}
	guide := &tour.Guide{Out: os.Stdout}
	guide.Step("booting a Debian 12 container with systemd and installing %s", o.Deb)
	system, err := e2e.Install(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, system.Close()) }()
	if err := configure(ctx, guide, system); err != nil {
		return err
	}
	client, err := guide.Walk(ctx, e2e.PublicURL+"/mcp", "alice", "alice-password", system.Transport())
	if err != nil {
		return err
	}
	defer client.Close()
	if err := lookAround(ctx, system); err != nil || once {
		return err
	}
	return stay(ctx, system)
}

func configure(ctx context.Context, guide *tour.Guide, system *e2e.System) error {
	if err := system.Configure(nil); err != nil {
		return err
	}
	guide.Step("configured /etc/fjmcp/broker.env and the client secret")
	if err := system.Enable(ctx); err != nil {
		return err
	}
	guide.Step("systemctl enable --now fjmcp-broker.socket")
	return nil
}

// lookAround shows what the operator would look at.
func lookAround(ctx context.Context, system *e2e.System) error {
	units, err := system.Units(ctx)
	if err != nil {
		return err
	}
	if len(units) != 1 {
		return fmt.Errorf("%d session units run, want the one of this client", len(units))
	}
	for _, argv := range [][]string{
		{"systemctl", "list-units", "--no-pager", "fjmcp-session@*"},
		{"systemd-analyze", "security", "--no-pager", "fjmcp-session@*.service"},
		{"fjmcpctl", "sessions", "list"},
		{"journalctl", "--no-pager", "-o", "short-iso", "FJMCP_EVENT=tool_call", "+", "FJMCP_EVENT=session_started", "+", "FJMCP_EVENT=login"},
	} {
		if argv[0] == "systemd-analyze" {
			argv[len(argv)-1] = units[0].Name
		}
		out, err := system.C.Run(ctx, argv...)
		if err != nil {
			return err
		}
		show(argv, out)
	}
	return nil
}

// stay forwards the broker's and the forge's port until it is told to end.
func stay(ctx context.Context, system *e2e.System) error {
	for _, address := range []string{"127.0.0.1:8080", "127.0.0.1:3000"} {
		if err := system.Forward(ctx, address, address); err != nil {
			return err
		}
	}
	fmt.Printf("\nConnect a client to %s/mcp and log in as alice, password alice-password.\nLook inside with: nsenter -t %d -a   Ctrl-C ends it.\n", e2e.PublicURL, system.C.Leader())
	<-ctx.Done()
	return nil
}
