package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/testforge"
	"github.com/fjmcp/fjmcp-broker/internal/tools/tour"
)

type brokerConfig struct {
	program, backend, state string
	forge                   *forge
}

// broker is a running fjmcp-broker.
type broker struct {
	url   string
	cmd   *exec.Cmd
	ended chan error
}

// startBroker registers the broker at the forge, as its operator would, and
// starts it.
func startBroker(ctx context.Context, guide *tour.Guide, c brokerConfig) (*broker, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	b := &broker{url: "http://" + address, ended: make(chan error, 1)}
	app, err := c.forge.Register(testforge.App{Name: "fjmcp", RedirectURIs: []string{b.url + "/oauth/callback"}})
	if err != nil {
		return nil, err
	}
	guide.Step("OAuth2 application registered at the forge, redirect URI %s/oauth/callback", b.url)
	if err := writeCredentials(c.state, app.ClientSecret); err != nil {
		return nil, err
	}
	b.cmd = exec.Command(c.program)
	b.cmd.Stdout, b.cmd.Stderr = os.Stderr, os.Stderr
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM} // Ctrl-C reaches us alone
	b.cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"CREDENTIALS_DIRECTORY=" + c.state,
		"FJMCP_BROKER_PUBLIC_URL=" + b.url,
		"FJMCP_BROKER_LISTEN=" + address,
		"FJMCP_BROKER_FORGEJO_URL=" + c.forge.url,
		"FJMCP_BROKER_FORGEJO_CLIENT_ID=" + app.ClientID,
		"FJMCP_BROKER_FORGEJO_MCP=" + c.backend,
		"FJMCP_BROKER_LAUNCHER=process",
		"FJMCP_BROKER_STATE_DIR=" + filepath.Join(c.state, "state"),
	}
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start the broker: %w", err)
	}
	go func() { b.ended <- b.cmd.Wait() }()
	if err := b.wait(ctx); err != nil {
		b.stop()
		return nil, err
	}
	guide.Step("broker at %s, backend %s", b.url, c.backend)
	return b, nil
}

func freeAddress() (string, error) {
	l, err := listen("8080")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).String(), nil
}

func writeCredentials(dir, secret string) error {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "forgejo-client-secret"), []byte(secret), 0o600),
		os.WriteFile(filepath.Join(dir, "store-key"), key, 0o600),
		os.Mkdir(filepath.Join(dir, "state"), 0o700))
}

// wait returns when the broker reports that it is healthy.
func (b *broker) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if resp, err := http.Get(b.url + "/healthz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-b.ended:
			b.ended <- err
			return fmt.Errorf("the broker did not start: %w", err)
		case <-ctx.Done():
			return errors.New("the broker did not become healthy within 30 s")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (b *broker) stop() {
	_ = b.cmd.Process.Signal(syscall.SIGTERM)
	<-b.ended
}
