package measure

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
	token string
	log   *os.File
}

// startBroker starts a broker that keeps its state in dir, and logs a client in.
func startBroker(ctx context.Context, cfg Config, forge *localbroker.Forge, dir string) (*broker, error) {
	// A file, as the journal would be: nothing here is woken to read it.
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	b := &broker{log: log}
	b.Broker, err = localbroker.Start(ctx, localbroker.Config{
		Program: cfg.Broker, Backend: cfg.Child, Port: "0", Dir: dir, Forge: forge, Log: log,
		Env: []string{"FJMCP_BROKER_SESSIONS_PER_USER=300", "FJMCP_BROKER_SESSIONS_MAX=300"},
	})
	if err == nil {
		b.token, err = login(ctx, b.URL+"/mcp")
		if err != nil {
			b.Stop(syscall.SIGTERM)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, b.lastWords())
	}
	return b, nil
}

// login goes a client's whole way once and returns its access token.
func login(ctx context.Context, url string) (string, error) {
	transport := &http.Transport{DialContext: localhost.DialContext}
	defer transport.CloseIdleConnections()
	user := fakeforge.DefaultUsers[0]
	client, err := loginclient.Connect(ctx, loginclient.Config{
		MCPURL: url, Transport: transport, Browser: loginclient.NewBrowser(transport, user.Name, user.Password),
	})
	if err != nil {
		return "", err
	}
	token, err := client.AccessToken(ctx)
	if err != nil {
		return "", err
	}
	return token, client.Close()
}

func (b *broker) target() (Target, error) { return HTTP("broker", b.URL+"/mcp", b.token) }

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
