package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/localhost"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/localbroker"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

// broker is a running fjmcp-broker and a login at it.
type broker struct {
	*localbroker.Broker
	endpoint
	log *os.File
}

// startBroker starts a broker that keeps its state in dir, and logs a client in.
func startBroker(ctx context.Context, cfg config, forge *localbroker.Forge, dir string) (*broker, error) {
	// A file, as the journal would be: nothing here is woken to read it.
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	b := &broker{log: log}
	b.Broker, err = localbroker.Start(ctx, localbroker.Config{
		Program: cfg.broker, Backend: cfg.child, Port: "0", Dir: dir, Forge: forge, Log: log,
		Env: []string{"FJMCP_BROKER_SESSIONS_PER_USER=300", "FJMCP_BROKER_SESSIONS_MAX=300"},
	})
	if err == nil {
		b.endpoint, err = logIn(ctx, b.URL+"/mcp")
		if err != nil {
			b.Stop(syscall.SIGTERM)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, b.lastWords())
	}
	return b, nil
}

// logIn goes a client's whole way once.
func logIn(ctx context.Context, url string) (endpoint, error) {
	transport := &http.Transport{DialContext: new(localhost.Dialer).DialContext}
	defer transport.CloseIdleConnections()
	user := fakeforge.DefaultUsers[0]
	client, err := loginclient.Connect(ctx, loginclient.Config{
		MCPURL: url, Transport: transport, Browser: loginclient.NewBrowser(transport, user.Name, user.Password),
	})
	if err != nil {
		return endpoint{}, err
	}
	token, err := client.AccessToken(ctx)
	if err != nil {
		return endpoint{}, err
	}
	if err := client.Close(); err != nil {
		return endpoint{}, err
	}
	return newEndpoint(url, token)
}

func (b *broker) stop() {
	b.Stop(syscall.SIGTERM)
	b.log.Close()
}

// lastWords is the end of the broker's log.
func (b *broker) lastWords() string {
	text, _ := os.ReadFile(b.log.Name())
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
