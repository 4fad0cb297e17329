package unit

import (
	"encoding/json"
	"fmt"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
)

const backendName = "Forgejo MCP Server" // serverInfo.name, since its first release

// checkVersion returns *unfitError for a forgejo-mcp that is, by its serverInfo, too old to
// work here.
func checkVersion(serverInfo json.RawMessage) error {
	var info struct{ Name, Version string }
	_ = json.Unmarshal(serverInfo, &info) // another backend may say what it likes
	if _, old := control.BackendVersion(info.Version); info.Name != backendName || !old {
		return nil
	}
	return &unfitError{Reason: control.ReasonBackendTooOld, Detail: fmt.Sprintf("forgejo-mcp %s is too old; install %s or newer", info.Version, control.OldestBackend)}
}
