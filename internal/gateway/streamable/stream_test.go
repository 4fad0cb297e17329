package streamable

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

func requests(t *testing.T, ids ...string) (all []mcp.Message) {
	t.Helper()
	for _, id := range ids {
		m, err := mcp.Parse([]byte(`{"jsonrpc":"2.0","id":` + id + `,"method":"ping"}`))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// A label tells which requests a stream answered, whatever their ids are; and what
// is no label of ours tells nothing.
func TestLabels(t *testing.T) {
	notification, err := mcp.Parse([]byte(`{"jsonrpc":"2.0","method":"notifications/cancelled"}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, ids := range [][]string{{}, {`1`}, {`"a-b.c\u00fc"`}, {`-1`, `"2"`, `3.5`}} {
		got := unlabel(label(append(requests(t, ids...), notification)))
		if fmt.Sprintf("%s", got) != fmt.Sprintf("%s", ids) {
			t.Errorf("of %s came %s", ids, got)
		}
	}
	if got := label(requests(t, `"`+strings.Repeat("x", maxLabel)+`"`)); got != "" {
		t.Errorf("a long id gives the label %q", got)
	}
	for _, bad := range []string{"", "MQ..MQ", "*", "e30", "W10", "bnVsbA", strings.Repeat("MQ.", maxLabel)} { // {}, [], null
		if got := unlabel(bad); got != nil {
			t.Errorf("%q is about %s", bad, got)
		}
	}
}
