package credential

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/peercred"
	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
)

// parsePeer returns the unit id out of the address PID 1 binds:
// "@<hex>/unit/fjmcp-session@<id>.service/forgejo-token". Go writes the null
// byte of an abstract address as "@".
func parsePeer(addr string) (string, error) {
	parts := strings.Split(addr, "/")
	if len(parts) != 4 || parts[1] != "unit" || parts[3] != launchproto.CredentialName || !isNonce(parts[0]) {
		return "", errors.New("peer's address does not ask for a session's token")
	}
	id, ok := strings.CutPrefix(parts[2], launchproto.UnitPrefix)
	if !ok {
		return "", errors.New("peer's address names no session unit")
	}
	id, ok = strings.CutSuffix(id, launchproto.UnitSuffix)
	if !ok {
		return "", errors.New("peer's address names no service")
	}
	return id, launchproto.CheckID(id)
}

// isNonce reports whether s is "@" and 1 to 16 lower-case hexadecimal digits:
// systemd prints a random 64-bit number, without leading zeros.
func isNonce(s string) bool {
	hex, ok := strings.CutPrefix(s, "@")
	return ok && len(hex) >= 1 && len(hex) <= 16 && strings.Trim(hex, "0123456789abcdef") == ""
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
