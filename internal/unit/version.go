package unit

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/control"
	"github.com/fjmcp/fjmcp-broker/internal/mcp"
)

const (
	backendName   = "Forgejo MCP Server" // serverInfo.name, since its first release
	oldestBackend = "2.18.0"
)

// checkVersion refuses a forgejo-mcp, by its answer to initialize, that is too
// old to work here.
func checkVersion(answer mcp.Message) error {
	v := answer.ResultString("serverInfo", "version")
	if answer.ResultString("serverInfo", "name") != backendName || !olderThan(v, oldestBackend) {
		return nil
	}
	return &StartError{Reason: control.ReasonBackendTooOld, Detail: fmt.Sprintf("forgejo-mcp %s is too old; install %s or newer", v, oldestBackend)}
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
