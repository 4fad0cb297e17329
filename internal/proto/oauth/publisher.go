package oauth

import (
	"net/url"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// Publisher is the host that answers for a client's name and addresses: where
// its client ID metadata document is. It is empty for a client that described
// itself.
func Publisher(c model.Client) string {
	u, err := url.Parse(c.ID)
	if c.Kind != model.ClientDocument || err != nil {
		return ""
	}
	return u.Host
}
