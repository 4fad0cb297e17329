package oauth

import (
	"net/url"

	"github.com/fjmcp/fjmcp-broker/internal/broker"
)

// Publisher is the host that answers for a client's name and addresses: where
// its client ID metadata document is. It is empty for a client that described
// itself.
func Publisher(c broker.Client) string {
	u, err := url.Parse(c.ID)
	if c.Kind != broker.ClientDocument || err != nil {
		return ""
	}
	return u.Host
}
