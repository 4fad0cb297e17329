package credential

import (
	"errors"
	"fmt"
	"net"
	"regexp"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/peercred"
	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
)

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
