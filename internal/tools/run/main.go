// Command run is `make run`: the broker with its embedded defaults (process
// launcher, SQLite) against the built-in test forge, one login and one tool
// call, then it stays up for a real client.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/fjmcp/fjmcp-broker/internal/testforge"
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
	forge, err := startForge(guide)
	if err != nil {
		return err
	}
	defer forge.server.Close()
	b, err := startBroker(ctx, guide, brokerConfig{program: filepath.Join(bin, "fjmcp-broker"), backend: backend, state: state, forge: forge})
	if err != nil {
		return err
	}
	defer b.stop()
	return visit(ctx, guide, b, once)
}

// visit walks the tour and, unless once, waits for real clients.
func visit(ctx context.Context, guide *tour.Guide, b *broker, once bool) error {
	user := testforge.DefaultUsers[0]
	client, err := guide.Walk(ctx, b.url+"/mcp", user.Name, user.Password, nil)
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
	fmt.Printf(connect, b.url+"/mcp", b.url+"/mcp", user.Name, user.Password)
	select {
	case <-ctx.Done():
		return nil
	case err := <-b.ended:
		return fmt.Errorf("the broker ended: %w", err)
	}
}

const lacks = `
This was the process launcher: sessions are plain child processes. What it lacks
is what systemd gives: no unit per session, no user id of its own, no network
isolation, no reaping when the broker is gone. "make demo" shows the real thing.
`

const connect = `
The broker stays up. Connect a client to
    %s
for example:  claude mcp add --transport http forgejo %s
and log in at the forge as %s with password %s. Ctrl-C ends it.
`

// listen takes the preferred loopback port, or any when that is in use.
func listen(port string) (net.Listener, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
	if errors.Is(err, syscall.EADDRINUSE) {
		return net.Listen("tcp", "127.0.0.1:0")
	}
	return l, err
}

// forge is the test forge on a loopback port.
type forge struct {
	*testforge.Forge
	server http.Server
	url    string
}

func startForge(guide *tour.Guide) (*forge, error) {
	l, err := listen("3000")
	if err != nil {
		return nil, err
	}
	f := &forge{url: fmt.Sprintf("http://forgejo.localhost:%d", l.Addr().(*net.TCPAddr).Port)}
	if f.Forge, err = testforge.New(testforge.Config{URL: f.url}); err != nil {
		return nil, err
	}
	f.server.Handler = f.Forge
	go func() { _ = f.server.Serve(l) }()
	guide.Step("test forge at %s", f.url)
	return f, nil
}
