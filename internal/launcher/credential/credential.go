package credential

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

// timeout bounds one answer. The session's unit gives up after its TimeoutStartSec=, 10 s.
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
