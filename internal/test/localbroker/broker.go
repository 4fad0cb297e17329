// Package localbroker runs the broker as a plain process with its embedded defaults
// (process launcher, SQLite) against the fake forge, both on loopback.
package localbroker

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

// Config says what to run.
type Config struct {
	Program string   // fjmcp-broker, with fjmcp-session beside it
	Backend string   // FJMCP_BROKER_FORGEJO_MCP
	Port    string   // preferred port; "0" for any
	Dir     string   // private directory for credentials and state
	Env     []string // further NAME=value settings
	Forge   *fakeforge.Server
	Log     io.Writer // the broker's standard error
	// PublicURL is where clients reach the broker, if not at its own address but
	// through a proxy.
	PublicURL string
	Prefix    string // path of the public URL where PublicURL is not set, such as "/p"
	// Socket is a unix socket that the broker inherits, as from the service manager, with
	// the admin socket in its state directory, instead of listening itself. It takes a
	// PublicURL; Port is not used.
	Socket *net.UnixListener
}

// Broker is a running fjmcp-broker.
type Broker struct {
	URL      string
	ClientID string     // at the forge
	Ended    chan error // gets the exit when it ends unasked

	cmd     *exec.Cmd
	env     []string
	log     io.Writer
	sockets []*os.File // that it inherits: HTTP, admin
	admin   string
	http    *http.Client // reaches the broker itself
}

// Start registers the broker at the forge, as its operator would, and starts
// it. It returns when the broker answers.
func Start(ctx context.Context, c Config) (*Broker, error) {
	address, err := FreeAddress(c.Port)
	if err != nil {
		return nil, err
	}
	b := &Broker{URL: "http://" + address, log: c.Log, http: http.DefaultClient, admin: filepath.Join(c.Dir, "state", "admin.sock")}
	if c.Socket != nil {
		b.http = over(c.Socket.Addr().String())
	}
	public := cmp.Or(c.PublicURL, b.URL+c.Prefix)
	app, err := c.Forge.Register(fakeforge.App{Name: "fjmcp", RedirectURIs: []string{public + "/oauth/callback"}})
	if err != nil {
		return nil, err
	}
	if err := writeCredentials(c.Dir, app.ClientSecret); err != nil {
		return nil, err
	}
	if c.Socket != nil {
		if err := b.inherit(c.Socket); err != nil {
			return nil, err
		}
	}
	b.ClientID = app.ClientID
	b.env = append([]string{
		"PATH=" + os.Getenv("PATH"),
		"CREDENTIALS_DIRECTORY=" + c.Dir,
		"FJMCP_BROKER_PUBLIC_URL=" + public,
		"FJMCP_BROKER_LISTEN=" + address,
		"FJMCP_BROKER_FORGEJO_URL=" + c.Forge.URL,
		"FJMCP_BROKER_FORGEJO_CLIENT_ID=" + app.ClientID,
		"FJMCP_BROKER_FORGEJO_MCP=" + c.Backend,
		"FJMCP_BROKER_LAUNCHER=process",
		"FJMCP_BROKER_CLIENT_METADATA_DOCUMENTS=off", // it would look for a way out, to the internet
		"FJMCP_BROKER_STATE_DIR=" + filepath.Join(c.Dir, "state"),
	}, c.Env...)
	return b, b.Restart(ctx, c.Program)
}

// Restart starts program with the settings of before, ending what runs.
func (b *Broker) Restart(ctx context.Context, program string) error {
	if b.cmd != nil {
		b.Stop(syscall.SIGTERM)
	}
	b.cmd = b.command(program)
	b.cmd.Env, b.cmd.Stdout, b.cmd.Stderr = b.env, b.log, b.log
	var err error
	if b.Ended, err = Spawn(b.cmd); err != nil {
		return fmt.Errorf("cannot start the broker: %w", err)
	}
	if err := Await(ctx, b.Ended, b.http, b.URL+"/livez"); err != nil {
		b.Stop(syscall.SIGTERM)
		return fmt.Errorf("the broker: %w", err)
	}
	return nil
}

// inherit keeps the sockets open that each process of the broker gets.
func (b *Broker) inherit(http *net.UnixListener) error {
	operator, err := net.ListenUnix("unix", &net.UnixAddr{Name: b.admin, Net: "unix"})
	if err != nil {
		return err
	}
	operator.SetUnlinkOnClose(false)
	defer operator.Close()
	for _, l := range []*net.UnixListener{http, operator} {
		f, err := l.File()
		if err != nil {
			return err
		}
		b.sockets = append(b.sockets, f)
	}
	return nil
}

// command runs program, which inherits the sockets if there are any (sd_listen_fds(3)):
// only the process itself knows the id that it has to be told of.
func (b *Broker) command(program string) *exec.Cmd {
	if b.sockets == nil {
		return exec.Command(program)
	}
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_FDS=2 LISTEN_FDNAMES=http:admin LISTEN_PID=$$ exec "$0"`, program)
	cmd.ExtraFiles = b.sockets
	return cmd
}

// over returns a client of what listens on a unix socket.
func over(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
}

// Second starts another broker process on the same database, under the same
// public URL, at an address of its own, its URL. It takes over the admin socket.
func (b *Broker) Second(ctx context.Context, program string) (*Broker, error) {
	address, err := FreeAddress("0")
	if err != nil {
		return nil, err
	}
	second := &Broker{URL: "http://" + address, log: b.log, env: slices.Clone(b.env), http: http.DefaultClient, admin: b.admin}
	second.Setenv("FJMCP_BROKER_LISTEN", address)
	return second, second.Restart(ctx, program)
}

// Spawn starts cmd and returns a channel that gets how it ended. It does not outlive
// this process, and Ctrl-C reaches this process alone.
func Spawn(cmd *exec.Cmd) (ended chan error, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	ended = make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the thread's end is what sends the death signal
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	return ended, <-started
}

// AdminSocket is where fjmcpctl reaches it.
func (b *Broker) AdminSocket() string { return b.admin }

// Environ is what the broker's settings are in, for what looks at them as it does.
func (b *Broker) Environ() []string { return slices.Clone(b.env) }

// Setenv changes a setting from the next Restart on.
func (b *Broker) Setenv(name, value string) { b.env = append(b.env, name+"="+value) } // the last one counts

// Pid is the broker's process id.
func (b *Broker) Pid() int { return b.cmd.Process.Pid }

// Stop sends the broker a signal and waits for its end.
func (b *Broker) Stop(signal syscall.Signal) {
	_ = b.cmd.Process.Signal(signal)
	b.Ended <- <-b.Ended
}

// FreeAddress returns the loopback address with the preferred port, or any when that is
// in use, at which nothing listens.
func FreeAddress(port string) (string, error) {
	l, err := listen(port)
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).String(), nil
}

// listen takes the preferred loopback port, or any when that is in use.
func listen(port string) (net.Listener, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
	if errors.Is(err, syscall.EADDRINUSE) {
		return net.Listen("tcp", "127.0.0.1:0")
	}
	return l, err
}

// StartForge serves a forge at forgejo.localhost, on port if it is free.
func StartForge(port string) (*fakeforge.Server, error) {
	l, err := listen(port)
	if err != nil {
		return nil, err
	}
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return fakeforge.Serve(fakeforge.Config{URL: "http://forgejo.localhost:" + port}, l)
}

func writeCredentials(dir, secret string) error {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "forgejo-client-secret"), []byte(secret), 0o600),
		os.WriteFile(filepath.Join(dir, "store-key"), key, 0o600),
		os.Mkdir(filepath.Join(dir, "state"), 0o700))
}

// Await returns when a server answers at url, whatever it says. It fails when the
// process behind it ends, which stays to be read from ended, and after 30 s.
func Await(ctx context.Context, ended chan error, client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if resp, err := client.Do(r); err == nil {
			return resp.Body.Close()
		}
		select {
		case err := <-ended:
			ended <- err
			return fmt.Errorf("it did not start: %w", err)
		case <-ctx.Done():
			return errors.New("it did not answer within 30 s")
		case <-time.After(50 * time.Millisecond):
		}
	}
}
