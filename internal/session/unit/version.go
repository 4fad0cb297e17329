package unit

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
)

const (
	backendName   = "Forgejo MCP Server" // serverInfo.name, since its first release
	oldestBackend = "2.18.0"
)

// checkVersion returns *unfitError for a forgejo-mcp that is, by its serverInfo, too old to
// work here.
func checkVersion(serverInfo json.RawMessage) error {
	var info struct{ Name, Version string }
	_ = json.Unmarshal(serverInfo, &info) // another backend may say what it likes
	if info.Name != backendName || !olderThan(info.Version, oldestBackend) {
		return nil
	}
	return &unfitError{Reason: control.ReasonBackendTooOld, Detail: fmt.Sprintf("forgejo-mcp %s is too old; install %s or newer", info.Version, oldestBackend)}
}

// olderThan compares dotted versions numerically. What is no version ("dev") is
// not older than anything.
func olderThan(version, limit string) bool {
	v, l := numbers(version), numbers(limit)
	for i := range min(len(v), len(l)) {
		if v[i] != l[i] {
			return v[i] < l[i]
		}
	}
	return false
}

func numbers(version string) []int {
	var out []int
	version, _, _ = strings.Cut(strings.TrimPrefix(version, "v"), "-")
	for part := range strings.SplitSeq(version, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return out
		}
		out = append(out, n)
	}
	return out
}
