package launcher

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"

	sddbus "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

// privateSocket is PID 1's own D-Bus socket, which only uid 0 may use. The
// system bus is avoided: other programs can send to whoever is connected to it.
const privateSocket = "unix:path=/run/systemd/private"

var errLost = errors.New("lost the connection to the service manager")

// bus is the connection to the service manager, made when first needed and
// again after it broke (systemctl daemon-reexec closes it).
type bus struct {
	address string

	mu   sync.Mutex
	conn *sddbus.Conn
	lost <-chan struct{} // closed when conn breaks
}

func (b *bus) get() (*sddbus.Conn, <-chan struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn != nil && b.conn.Connected() {
		return b.conn, b.lost, nil
	}
	b.drop()
	lost, breaks := context.WithCancel(context.Background())
	conn, err := sddbus.NewConnection(func() (*dbus.Conn, error) {
		c, err := dial(b.address)
		if err == nil {
			context.AfterFunc(c.Context(), breaks)
		}
		return c, err
	})
	if err != nil {
		breaks()
		return nil, nil, fmt.Errorf("cannot reach the service manager: %w", err)
	}
	b.conn, b.lost = conn, lost.Done()
	return conn, b.lost, nil
}

// dial does not say Hello: there is no bus, the peer is PID 1 itself.
func dial(address string) (*dbus.Conn, error) {
	c, err := dbus.Dial(address)
	if err != nil {
		return nil, err
	}
	if err := c.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Getuid()))}); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (b *bus) drop() {
	if b.conn != nil {
		b.conn.Close()
		b.conn = nil
	}
}

func (b *bus) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop()
}

// enqueue asks the service manager for a job whose result is to be sent to ch.
type enqueue func(c *sddbus.Conn, ch chan<- string) (int, error)

// job enqueues a job and returns its result: "done", or one of those that
// org.freedesktop.systemd1(5) lists for JobRemoved.
func (b *bus) job(ctx context.Context, q enqueue) (string, error) {
	c, lost, err := b.get()
	if err != nil {
		return "", err
	}
	result := make(chan string, 1) // unbuffered, it would hold up all other jobs
	if _, err := q(c, result); err != nil {
		return "", err
	}
	select {
	case r := <-result:
		return r, nil
	case <-lost:
		return "", errLost
	case <-ctx.Done():
		return "", fmt.Errorf("the service manager did not finish the job: %w", ctx.Err())
	}
}

// isError reports whether err is one of the named errors of
// org.freedesktop.systemd1.
func isError(err error, names ...string) bool {
	var e dbus.Error
	if !errors.As(err, &e) {
		return false
	}
	for _, name := range names {
		if e.Name == "org.freedesktop.systemd1."+name {
			return true
		}
	}
	return false
}
