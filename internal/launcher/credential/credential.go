package credential

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	launchclient "github.com/fjmcp/fjmcp-broker/internal/launcher/client"
)

// timeout bounds one answer, the token's refresh included. The session's unit
// gives up after its TimeoutStartSec=, 10 s.
const timeout = 5 * time.Second

// Serve answers connections on l, a unix stream socket, with the token of the
// session they ask for, until ctx ends; that is no error. It closes l and waits
// for answers under way. Whoever is not root, asks for anything else, or asks
// for a session that token refuses gets no byte; the reason is logged.
func Serve(ctx context.Context, l net.Listener, token launchclient.TokenFunc, log *slog.Logger) error {
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
			if err := answer(ctx, c, token); err != nil {
				log.Warn("cannot hand out a session's credential", "peer", c.RemoteAddr().String(), "error", err)
			}
		})
	}
}

func answer(ctx context.Context, c net.Conn, token launchclient.TokenFunc) error {
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
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	secret, err := token(ctx, id)
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
