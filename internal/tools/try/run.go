package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"syscall"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/localhost"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/localbroker"
)

// local starts the broker as a plain process, walks and, unless once, waits for real
// clients.
func (t *try) local(ctx context.Context, program string) error {
	state, err := os.MkdirTemp("", "fjmcp-run-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(state)
	forge, err := localbroker.StartForge("3000")
	if err != nil {
		return err
	}
	defer forge.Stop()
	t.say("test forge at %s", forge.URL)
	var env []string
	if t.policy != "" {
		if err := people(forge); err != nil {
			return err
		}
		env = []string{"FJMCP_BROKER_POLICY=" + t.policy}
	}
	broker, err := localbroker.Start(ctx, localbroker.Config{
		Program: program, Backend: t.backend, Port: "8080", Dir: state, Forge: forge, Log: os.Stderr, Env: env,
	})
	if err != nil {
		return err
	}
	defer broker.Stop(syscall.SIGTERM)
	t.say("broker at %s, registered at the forge as an OAuth2 application; backend %s", broker.URL, t.backend)
	client, err := t.walk(ctx, broker.URL+"/mcp", &http.Transport{DialContext: new(localhost.Dialer).DialContext})
	if err != nil {
		return fmt.Errorf("%w\nThe broker's log is above", err)
	}
	if err := client.Close(); err != nil {
		return fmt.Errorf("cannot end the session: %w", err)
	}
	t.say("session ended with DELETE")
	fmt.Print(lacks)
	if t.once {
		return nil
	}
	if t.policy != "" {
		fmt.Printf(underPolicy, t.policy, broker.AdminSocket())
	}
	fmt.Printf(connect, broker.URL+"/mcp", visitor.Name, visitor.Password, broker.URL+"/account")
	select {
	case <-ctx.Done():
		return nil
	case err := <-broker.Ended:
		return fmt.Errorf("the broker ended: %w", err)
	}
}

// people makes a site's more: an organization with teams, for a policy to grant by.
func people(forge *fakeforge.Server) error {
	forge.AddOrganization("acme", false)
	for _, p := range []struct{ name, team string }{{"carol", "readers"}, {"dave", "developers"}, {"eve", ""}} {
		forge.AddUser(p.name)
		if p.team == "" {
			continue
		}
		id, err := forge.Join(p.name, "acme", p.team)
		if err != nil {
			return err
		}
		fmt.Printf("    %s, password %s-password, is in the team acme/%s#%d\n", p.name, p.name, p.team, id)
	}
	return nil
}

const underPolicy = `
In force is the policy of %[1]s. Change it, then:
    bin/fjmcpctl policy check --socket %[2]s
    bin/fjmcpctl policy reload --socket %[2]s
    bin/fjmcpctl policy explain --user alice --socket %[2]s
`

const lacks = `
This was the process launcher: sessions are plain child processes. What it lacks
is what systemd gives: no unit per session, no user id of its own, no network
isolation, no reaping when the broker is gone. "make demo" shows the real thing.
`

const connect = `
The broker stays up at %[1]s. Try:
 a. Connect a client:  claude mcp add --transport http forgejo %[1]s
    In the browser choose "Read only" and continue; log in at the forge as %[2]s
    with password %[3]s.
 b. Have it list the issues of %[2]s/hello, then create one there. The second is refused,
    and the answer says why and where to change that.
 c. Open %[4]s and log in. Disconnect the client. Its next call
    asks you to log in again.
Ctrl-C ends it.
`
