package unit

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/test/testlog"
)

// A forgejo-mcp built from source states no version. It is taken, and the log says so once.
func TestUnversionedBackend(t *testing.T) {
	log := &testlog.Buffer{}
	u := &Unit{cfg: Config{Log: slog.New(slog.NewTextHandler(log, nil))}}
	for _, tc := range []struct {
		name, version string
		refused       bool
	}{
		{backendName, "2.34.1", false}, {"another", "dev", false}, {backendName, "2.17.0", true}, {backendName, "dev", false}, {backendName, "", false},
	} {
		err := u.checkVersion(json.RawMessage(fmt.Sprintf(`{"name":%q,"version":%q}`, tc.name, tc.version)))
		if (err != nil) != tc.refused {
			t.Errorf("%s %s: %v", tc.name, tc.version, err)
		}
		if said := strings.Count(log.String(), "does not state its version"); said > 1 || (said == 1) != (tc.name == backendName && !strings.Contains(tc.version, ".")) {
			t.Errorf("%s %s: said %d times", tc.name, tc.version, said)
		}
	}
}
