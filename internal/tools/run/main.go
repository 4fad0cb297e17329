// Command run is `make run`: the broker with its embedded defaults (process
// launcher, SQLite) against the built-in test forge, one login and one tool
// call, then it stays up for a real client.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/localhost"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/localbroker"
	"github.com/fjmcp/fjmcp-broker/internal/tools/tour"
)

func main() {
	once := flag.Bool("once", false, "end after one login and one tool call")
	backend := flag.String("forgejo-mcp", "", "path of a real forgejo-mcp; the built-in stand-in without it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *backend, *once); err != nil {
		fmt.Fprintln(os.Stderr, "run:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, backend string, once bool) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bin := filepath.Dir(self)
	if backend == "" {
		backend = filepath.Join(bin, "fjmcp-standin")
	}
	if backend, err = filepath.Abs(backend); err != nil {
		return err
	}
	state, err := os.MkdirTemp("", "fjmcp-run-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(state)
	guide := &tour.Guide{Out: os.Stdout}
	forge, err := localbroker.StartForge("3000")
	if err != nil {
		return err
	}
	defer forge.Stop()
	guide.Step("test forge at %s", forge.URL)
	broker, err := localbroker.Start(ctx, localbroker.Config{
		Program: filepath.Join(bin, "fjmcp-broker"), Backend: backend, Port: "8080", Dir: state, Forge: forge, Log: os.Stderr,
	})
	if err != nil {
		return err
	}
	defer broker.Stop(syscall.SIGTERM)
	guide.Step("broker at %s, registered at the forge as an OAuth2 application; backend %s", broker.URL, backend)
	return visit(ctx, guide, broker, once)
}

// visit walks the tour and, unless once, waits for real clients.
func visit(ctx context.Context, guide *tour.Guide, b *localbroker.Broker, once bool) error {
	user := fakeforge.DefaultUsers[0]
	client, err := guide.Walk(ctx, b.URL+"/mcp", user.Name, user.Password, &http.Transport{DialContext: new(localhost.Dialer).DialContext})
	if err != nil {
		return fmt.Errorf("%w\nThe broker's log is above", err)
	}
	if err := client.Close(); err != nil {
		return fmt.Errorf("cannot end the session: %w", err)
	}
	guide.Step("session ended with DELETE")
	fmt.Print(lacks)
	if once {
		return nil
	}
	fmt.Printf(connect, b.URL+"/mcp", user.Name, user.Password, b.URL+"/account")
	select {
	case <-ctx.Done():
		return nil
	case err := <-b.Ended:
		return fmt.Errorf("the broker ended: %w", err)
	}
}

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
