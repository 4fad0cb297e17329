package measure

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/npm"
)

const supergatewayName = "supergateway"

// startSupergateway installs supergateway and starts it with a child for each
// session. Its log is off: it would copy every message to it.
func startSupergateway(ctx context.Context, lock string, command ...string) (t Target, stop func(), err error) {
	dir, err := npm.Install(ctx, lock)
	if err != nil {
		return Target{}, nil, err
	}
	port, err := freePort()
	if err != nil {
		return Target{}, nil, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "node_modules", ".bin", "supergateway"),
		"--stdio", strings.Join(command, " "), "--outputTransport", "streamableHttp", "--stateful",
		"--port", strconv.Itoa(port), "--healthEndpoint", "/healthz", "--logLevel", "none")
	cmd.Env = append(os.Environ(), "NODE_ENV=production")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return Target{}, nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
	}
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	if err := answers200(ctx, url+"/healthz", ended); err != nil {
		stop()
		return Target{}, nil, err
	}
	t, err = HTTP(supergatewayName, url+"/mcp", "")
	return t, stop, err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// answers200 waits until a program answers at url, or ends.
func answers200(ctx context.Context, url string, ended chan error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(r); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-ended:
			ended <- err
			return fmt.Errorf("it ended at once: %w", err)
		case <-ctx.Done():
			return errors.New("it did not answer in time")
		case <-time.After(20 * time.Millisecond):
		}
	}
}
