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

	"github.com/fjmcp/fjmcp-broker/internal/daemon/localhost"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/peercred"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forge"
)

const (
	egressConnections = 4096
	egressDialTimeout = 4 * time.Second // shorter than what a session waits for the forge
)

// Egress carries connections to the configured forge and nowhere else. It sees neither
// what goes over them nor who sends it.
type Egress struct {
	network, address string
	owner            *owner // nil: whoever listens there
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
	e := &Egress{network: "tcp", address: net.JoinHostPort(host, forge.Port(u)), log: log}
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

// Serve takes connections from l, 4,096 at a time, until ctx ends; then it ends those that
// it carries.
func (e *Egress) Serve(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	// netutil.LimitListener would hide that unix sockets can be spliced and half closed.
	slots := make(chan struct{}, egressConnections)
	for {
		slots <- struct{}{}
		near, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot accept: %w", err)
		}
		go func() {
			defer func() { near.Close(); <-slots }()
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

// halfCloser is a connection whose one direction can end before the other.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// carry copies both ways until both have ended, or ctx.
func carry(ctx context.Context, near, far net.Conn) {
	defer far.Close()
	defer context.AfterFunc(ctx, func() { near.Close(); far.Close() })()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		both.Go(func() {
			if _, err := io.Copy(way[1], way[0]); err != nil { // the other way cannot go on alone
				near.Close()
				far.Close()
			}
			if to, ok := way[1].(halfCloser); ok {
				_ = to.CloseWrite()
			}
		})
	}
	both.Wait()
}
