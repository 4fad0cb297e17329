package launcher

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/localhost"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/peercred"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forge"
	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
)

const (
	// All that the proxies of all sessions let through, so that none waits for another's.
	egressConnections = launchproto.MostSessions * launchproto.ForgeConnections
	egressDescriptors = 6               // of a connection: two sockets, and two pipes with two ends
	egressDialTimeout = 4 * time.Second // shorter than what a session waits for the forge
)

// Egress carries connections to the configured forge and nowhere else. It sees neither
// what goes over them nor who sends it.
type Egress struct {
	network, address string
	slots            chan struct{} // one for each connection
	owner            *owner        // nil: whoever listens there
	log              *slog.Logger

	table sync.Mutex // one look at the kernel's table of sockets at a time

	mu   sync.Mutex
	last string // the fault of the latest connection; "" for none
}

// NewEgress reads from getenv where the forge is: the host and port of
// FJMCP_BROKER_FORGEJO_URL, or FJMCP_BROKER_FORGEJO_SOCKET; and the user who must listen
// there, FJMCP_BROKER_FORGEJO_USER. Its errors are for the operator.
func NewEgress(getenv func(string) string, log *slog.Logger) (*Egress, error) {
	u, err := parseForgejoURL(getenv(envForgejoURL))
	if err != nil {
		return nil, err
	}
	host := u.Hostname()
	if host == "localhost" {
		host = "127.0.0.1" // also where /etc/hosts lacks it
	}
	e := &Egress{network: "tcp", address: net.JoinHostPort(host, forge.Port(u)), slots: make(chan struct{}, egressRoom()), log: log}
	if strings.ContainsAny(host, "%/@ ") {
		return nil, fmt.Errorf("%s: want a host name or an address without a zone; correct it %s", envForgejoURL, restartHint)
	}
	if socket := getenv(envForgejoSocket); socket != "" {
		if !filepath.IsAbs(socket) {
			return nil, fmt.Errorf("%s=%q: want an absolute path; correct it %s", envForgejoSocket, socket, restartHint)
		}
		e.network, e.address = "unix", socket
	}
	if name := getenv(envForgejoUser); name != "" {
		uid, err := forge.OwnerUID(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w; correct it %s", envForgejoUser, err, restartHint)
		}
		e.owner = &owner{name, uid}
	}
	return e, nil
}

// egressRoom is how many connections there are descriptors for: who has none left cannot
// accept any more.
func egressRoom() int {
	const own = 100
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur >= egressConnections*egressDescriptors+own {
		return egressConnections
	}
	return max(1, (int(limit.Cur)-own)/egressDescriptors)
}

// Serve takes connections from l, as many at a time as all sessions may have, until ctx
// ends; then it ends those that it carries.
func (e *Egress) Serve(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		e.slots <- struct{}{} // netutil.LimitListener would hide that unix sockets can be spliced
		near, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot accept: %w", err)
		}
		go func() {
			defer func() { near.Close(); <-e.slots }()
			far, err := e.dial(ctx)
			e.note(err)
			if err == nil {
				carry(ctx, near, far)
			}
		}()
	}
}

// dial connects to the forge, and to nobody else who listens in its place: not one byte
// is sent before its owner is known.
func (e *Egress) dial(ctx context.Context) (net.Conn, error) {
	d := localhost.Dialer{Dialer: net.Dialer{Timeout: egressDialTimeout}}
	far, err := d.DialContext(ctx, e.network, e.address)
	if err != nil || e.owner == nil {
		return far, err
	}
	switch c := far.(type) {
	case *net.UnixConn:
		var uid uint32
		if uid, err = peercred.UID(c); err == nil {
			err = e.owner.is(uid)
		}
	case *net.TCPConn:
		e.table.Lock()
		err = e.owner.listensOn(c.RemoteAddr().(*net.TCPAddr).AddrPort())
		e.table.Unlock()
	}
	if err != nil {
		far.Close()
		return nil, fmt.Errorf("nothing is sent to %s: %w", e.address, err)
	}
	return far, nil
}

// note logs what has changed, since sessions make connections as often as they like.
func (e *Egress) note(err error) {
	var fault string
	if err != nil {
		fault = err.Error()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case fault == e.last:
	case fault != "":
		e.log.Error("cannot reach the forge", "error", fault)
	default:
		e.log.Info("the forge can be reached again")
	}
	e.last = fault
}

// carry copies both ways until one has ended, or ctx. A session that is gone would else
// keep its place for as long as the forge has not answered; no HTTP client half closes.
func carry(ctx context.Context, near, far net.Conn) {
	end := func() { near.Close(); far.Close() }
	defer context.AfterFunc(ctx, end)()
	back := make(chan struct{})
	go func() {
		defer close(back)
		_, _ = io.Copy(near, far)
		end()
	}()
	_, _ = io.Copy(far, near)
	end()
	<-back
}
