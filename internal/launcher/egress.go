package launcher

import (
	"fmt"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/localhost"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forge"
)

// EgressTarget derives from the environment where fjmcp-egress.service leads
// the sessions' connections: the forge's host and port as
// systemd-socket-proxyd(8) takes them. That program splits at the last colon
// and knows no brackets, so an IPv6 address stands bare ("::1:3000"). Names
// under .localhost become 127.0.0.1, since the C library may not know them, and
// so does localhost, which it does not resolve where only loopback is up.
func EgressTarget(getenv func(string) string) (string, error) {
	u, err := parseForgejoURL(getenv(envForgejoURL))
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(u.Hostname(), "%/@ ") {
		return "", fmt.Errorf("%s: want a host name or an address without a zone", envForgejoURL)
	}
	host := localhost.Resolve(u.Hostname())
	if host == "localhost" {
		host = "127.0.0.1"
	}
	return host + ":" + forge.Port(u), nil
}
