package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/localhost"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/localbroker"
)

// broker is a running fjmcp-broker and a login at it.
type broker struct {
	*localbroker.Broker
	endpoint
}

// withBroker has a broker used that has just been started. An error comes with the last
// lines of its log. env are further settings.
func withBroker(ctx context.Context, cfg config, forge *fakeforge.Server, use func(*broker), env ...string) (err error) {
	dir, err := os.MkdirTemp("", "fjmcp-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// A file, as the journal would be: nothing here is woken to read it.
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	defer func() {
		if err != nil {
			text, _ := os.ReadFile(log.Name())
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			err = errors.Join(err, errors.New(strings.Join(lines[max(0, len(lines)-20):], "\n")))
		}
	}()
	defer caught(&err)
	b := must(localbroker.Start(ctx, localbroker.Config{
		Program: cfg.broker, Backend: cfg.child, Port: "0", Dir: dir, Forge: forge, Log: log,
		Env: append([]string{"FJMCP_BROKER_SESSIONS_PER_USER=300", "FJMCP_BROKER_SESSIONS_MAX=300", "FJMCP_BROKER_CALLS_PER_MINUTE=0"}, env...),
	}))
	defer b.Stop(syscall.SIGTERM)
	use(&broker{b, must(userOf(ctx, b, "alice"))})
	return nil
}

// userOf logs a user in.
func userOf(ctx context.Context, b *localbroker.Broker, user string) (endpoint, error) {
	return logIn(ctx, b.URL+"/mcp", user, &http.Transport{DialContext: new(localhost.Dialer).DialContext, DisableKeepAlives: true})
}
