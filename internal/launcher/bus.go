package launcher

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

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

// use has f talk to the service manager. When the connection breaks under it, f is
// called once more with a new one, if again says that this does no harm: a manager
// that has closed its end, as daemon-reexec does, is noticed only by talking to it.
func (b *bus) use(ctx context.Context, again func(error) bool, f func(c *sddbus.Conn, lost <-chan struct{}) error) error {
	for first := true; ; first = false {
		c, lost, err := b.get()
		if err != nil {
			return err
		}
		if err = f(c, lost); !broke(err) || ctx.Err() != nil {
			return err
		}
		b.forget(c)
		if !first || !again(err) {
			return err
		}
	}
}

// forget has the next get make a new connection, unless one was made already.
func (b *bus) forget(c *sddbus.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn == c {
		b.drop()
	}
}

// broke reports whether err comes from the connection rather than from the service
// manager.
func broke(err error) bool {
	var answer dbus.Error
	return err != nil && !errors.As(err, &answer)
}

// unsent allows to repeat what must not be done twice: the manager has not got it.
func unsent(err error) bool { return errors.Is(err, syscall.EPIPE) }

// always allows to repeat what does no harm when done twice.
func always(error) bool { return true }

// enqueue asks the service manager for a job whose result is to be sent to ch.
type enqueue func(c *sddbus.Conn, ch chan<- string) (int, error)

// job enqueues a job and returns its result: "done", or one of those that
// org.freedesktop.systemd1(5) lists for JobRemoved. For again see use.
func (b *bus) job(ctx context.Context, again func(error) bool, q enqueue) (result string, err error) {
	err = b.use(ctx, again, func(c *sddbus.Conn, lost <-chan struct{}) error {
		ch := make(chan string, 1) // unbuffered, it would hold up all other jobs
		if _, err := q(c, ch); err != nil {
			return err
		}
		select {
		case result = <-ch:
			return nil
		case <-lost:
			return errLost
		case <-ctx.Done():
			return fmt.Errorf("the service manager did not finish the job: %w", ctx.Err())
		}
	})
	return result, err
}

// jobOf is a method of sddbus.Conn that enqueues a job of a unit.
type jobOf func(c *sddbus.Conn, ctx context.Context, unit, mode string, ch chan<- string) (int, error)

// jobEnd is how a job ended that is not "done".
type jobEnd string

func (e jobEnd) Error() string { return fmt.Sprintf("job ended as %q", string(e)) }

// finish waits until a job of a unit is done, one that does no harm when done twice. The
// error wraps a jobEnd if it ends otherwise. verb says what the job is.
func (b *bus) finish(ctx context.Context, verb string, job jobOf, unit, mode string) error {
	result, err := b.job(ctx, always, func(c *sddbus.Conn, ch chan<- string) (int, error) {
		return job(c, ctx, unit, mode, ch)
	})
	if err == nil && result != "done" {
		err = fmt.Errorf("%w; see journalctl -u %s", jobEnd(result), unit)
	}
	if err != nil {
		return fmt.Errorf("cannot %s %s: %w", verb, unit, err)
	}
	return nil
}

// stop waits until the unit has stopped. One that is not loaded has.
func (b *bus) stop(ctx context.Context, unit string) error {
	err := b.finish(ctx, "stop", (*sddbus.Conn).StopUnitContext, unit, "replace")
	if isError(err, "NoSuchUnit") {
		return nil
	}
	return err
}

// isError reports whether err is one of the named errors of
// org.freedesktop.systemd1.
func isError(err error, names ...string) bool {
	var e dbus.Error
	return errors.As(err, &e) && slices.Contains(names, strings.TrimPrefix(e.Name, "org.freedesktop.systemd1."))
}
