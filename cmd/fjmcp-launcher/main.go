// Command fjmcp-launcher starts and stops session units for fjmcp-broker. It is
// started by fjmcp-launcher.socket; see package launcher.
//
//	fjmcp-launcher                 serve the inherited socket
//	fjmcp-launcher egress          carry connections to the forge, for fjmcp-egress.service
//	fjmcp-launcher apply           have changed settings count, before the broker starts
//	fjmcp-launcher unmount         end the host's mounts of credentials that sessions have
//	fjmcp-launcher --version
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"os/user"
	"strconv"
	"syscall"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/cli"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/logging"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/systemd"
	"github.com/fjmcp/fjmcp-broker/internal/launcher"
)

func main() {
	stderr := logging.OpenStderr(false)
	way := func(do func() error) func() int { return func() int { return cli.Failed("fjmcp-launcher", do()) } }
	os.Exit(cli.Run("fjmcp-launcher", "[egress | apply | unmount | --version]", os.Args[1:], map[string]func() int{
		"":        way(func() error { return serve(stderr) }),
		"egress":  way(func() error { return egress(stderr) }),
		"apply":   way(func() error { return launcher.Apply(context.Background(), os.Getenv, launcher.AppliedFile) }),
		"unmount": way(func() error { return launcher.Unmount(context.Background()) }),
	}))
}

func serve(stderr *logging.Stderr) error {
	l, err := inherited("launcher", "unixpacket")
	if err != nil {
		return err
	}
	uid, err := brokerUID()
	if err != nil {
		return err
	}
	s := launcher.New(launcher.Config{Getenv: os.Getenv, PeerUIDs: []uint32{0, uid}, Log: logging.Untimed(stderr)})
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	return s.Serve(ctx, l)
}

func inherited(name, network string) (*net.UnixListener, error) {
	found, err := systemd.Inherited()
	if err != nil {
		return nil, err
	}
	if ls := found.Sockets[name]; len(ls) == 1 {
		if l, ok := ls[0].(*net.UnixListener); ok && l.Addr().Network() == network {
			return l, nil
		}
	}
	return nil, fmt.Errorf("no socket named %s was inherited; this program is started by fjmcp-%s.socket "+
		"(systemctl enable --now fjmcp-broker.socket)", name, name)
}

func brokerUID() (uint32, error) {
	u, err := user.Lookup("fjmcp")
	if err != nil {
		return 0, fmt.Errorf("cannot find the broker's user: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	return uint32(uid), err
}

// egress serves fjmcp-egress.socket.
func egress(stderr *logging.Stderr) error {
	l, err := inherited("egress", "unix")
	if err != nil {
		return err
	}
	e, err := launcher.NewEgress(os.Getenv, logging.Untimed(stderr))
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if err := systemd.Notify("READY=1"); err != nil {
		return err
	}
	return e.Serve(ctx, l)
}
