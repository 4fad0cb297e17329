package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/test/e2e"
	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
)

// demo installs the package in a container, walks, looks around and, unless once,
// forwards the broker's and the forge's port until it is told to end.
func (t *try) demo(ctx context.Context) (err error) {
	if err := nspawn.Check(); err != nil {
		return fmt.Errorf("the demo needs a container: %w", err)
	}
	t.say("booting a Debian 12 container with systemd and installing %s", t.deb)
	system, err := e2e.Install(ctx, e2e.Options{Deb: t.deb, Backend: t.backend})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, system.Close()) }()
	if err := system.Configure(nil); err != nil {
		return err
	}
	t.say("configured /etc/fjmcp/broker.env and the client secret")
	if err := system.Enable(ctx); err != nil {
		return err
	}
	t.say("systemctl enable --now fjmcp-broker.socket")
	client, err := t.walk(ctx, e2e.PublicURL+"/mcp", system.Transport())
	if err != nil {
		return err
	}
	defer client.Close()
	if err := lookAround(ctx, system); err != nil || t.once {
		return err
	}
	for _, address := range []string{"127.0.0.1:8080", "127.0.0.1:3000"} {
		if err := system.Forward(ctx, address); err != nil {
			return err
		}
	}
	fmt.Printf("\nConnect a client to %s/mcp and log in as %s, password %s.\nLook inside with: nsenter -t %d -a   Ctrl-C ends it.\n",
		e2e.PublicURL, visitor.Name, visitor.Password, system.C.Leader())
	<-ctx.Done()
	return nil
}

// lookAround shows what the operator would look at; of the long exposure report only the
// verdict.
func lookAround(ctx context.Context, system *e2e.System) error {
	units, err := system.C.Run(ctx, "systemctl", "list-units", "--plain", "--no-legend", "--state=active", "fjmcp-session@*.service")
	if err != nil {
		return err
	}
	if strings.Count(units, "\n") != 1 {
		return fmt.Errorf("want the one session unit of this client, got %q", units)
	}
	for _, command := range []string{
		"systemctl list-units --no-pager fjmcp-session@*",
		"systemd-analyze security --no-pager " + strings.Fields(units)[0],
		"fjmcpctl sessions list",
		"journalctl --no-pager -o short-iso _SYSTEMD_UNIT=fjmcp-broker.service FJMCP_EVENT=tool_call FJMCP_EVENT=session_started FJMCP_EVENT=login",
	} {
		out, err := system.C.Run(ctx, strings.Fields(command)...)
		if err != nil {
			return err
		}
		if out = strings.TrimSpace(out); strings.HasPrefix(command, "systemd-analyze") {
			out = out[strings.LastIndex(out, "\n")+1:]
		}
		fmt.Printf("\n# %s\n%s\n", command, out)
	}
	return nil
}
