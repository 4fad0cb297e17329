// Package credential answers the service manager's question for the Forgejo
// token of a session that starts. The session's unit says
//
//	LoadCredential=forgejo-token:/run/fjmcp-private/credentials.sock
//
// so PID 1 connects there, as root, and reads until end of file. It says which
// credential of which unit it wants by the abstract address it binds, see
// systemd.exec(5) under LoadCredential=. The token thus never stands in a
// property, on the bus or on disk.
package credential

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/peercred"
	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
)

// timeout bounds one answer. The session's unit gives up after its TimeoutStartSec=, at least
// 10 s.
const timeout = 5 * time.Second

// TokenFunc returns the Forgejo access token to hand to the unit of this id. It does not
// wait.
type TokenFunc func(unitID string) (string, error)

// Serve answers connections on l, a unix stream socket, with the token of the
// session they ask for, until ctx ends; that is no error. It closes l and waits
// for answers under way. Whoever is not root, asks for anything else, or asks
// for a session that token refuses gets no byte; the reason is logged.
func Serve(ctx context.Context, l net.Listener, token TokenFunc, log *slog.Logger) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	defer l.Close()
	var answers sync.WaitGroup
	defer answers.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		answers.Go(func() {
			defer c.Close()
			if err := answer(c, token); err != nil {
				log.Warn("cannot hand out a session's credential", "peer", c.RemoteAddr().String(), "error", err)
			}
		})
	}
}

func answer(c net.Conn, token TokenFunc) error {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return errors.New("not a unix socket")
	}
	if err := checkRoot(u); err != nil {
		return err
	}
	id, err := parsePeer(u.RemoteAddr().String())
	if err != nil {
		return err
	}
	secret, err := token(id)
	if err != nil {
		return err
	}
	if secret == "" {
		return errors.New("session " + id + " has no token")
	}
	if err := u.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	_, err = u.Write([]byte(secret))
	return err
}

// peerAddress is what PID 1 binds; systemd begins it with a random 64-bit number, without
// leading zeros. Go writes the null byte of an abstract address as "@".
var peerAddress = regexp.MustCompile("^@[0-9a-f]{1,16}/unit/([^/]*)/" + launchproto.CredentialName + "$")

// parsePeer returns the id of the unit that the address asks for.
func parsePeer(addr string) (string, error) {
	unit := peerAddress.FindStringSubmatch(addr)
	if unit == nil {
		return "", errors.New("peer's address does not ask for a session's token")
	}
	id, ok := launchproto.UnitID(unit[1])
	if !ok {
		return "", errors.New("peer's address names no session unit")
	}
	return id, nil
}

// checkRoot asks the kernel who connected. Any process may bind an address such
// as PID 1's; only root may be answered.
func checkRoot(c *net.UnixConn) error {
	uid, err := peercred.UID(c)
	if err != nil {
		return err
	}
	if uid != 0 {
		return fmt.Errorf("peer has uid %d, want 0", uid)
	}
	return nil
}
