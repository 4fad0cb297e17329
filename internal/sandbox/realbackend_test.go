package sandbox_test

import (
	"os"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
)

func TestRealBackend(t *testing.T) {
	backend := os.Getenv("FJMCP_TEST_FORGEJO_MCP")
	if backend == "" {
		t.Skip("SKIP: set FJMCP_TEST_FORGEJO_MCP to a forgejo-mcp binary to run this")
	}
	forge := newForge(t)
	token := forge.token(t, "alice")
	plain := environment(serveHTTP(t, forge), backend)
	url, egress, ca := serveHTTPS(t, forge)
	secure := append(environment(url, backend), "FJMCP_SESSION_EGRESS="+egress, "FJMCP_SESSION_FORGEJO_CA_FILE="+ca)
	for name, env := range map[string][]string{"http": plain, "https": secure} {
		t.Run(name, func(t *testing.T) {
			r := start(t, token, env...)
			r.want(control.TypeReady)
			s := r.connect()
			tools, err := s.ListTools(t.Context(), nil)
			if err != nil || len(tools.Tools) < 100 {
				t.Fatalf("got %d tools, %v", len(tools.Tools), err)
			}
			mustCall(t, s, "get_my_user_info", nil, "alice")
			if got := forge.last(); got != "token "+token {
				t.Errorf("the forge saw Authorization %q", got)
			}
			s.Close()
			r.want(control.TypeExited)
		})
	}
	t.Run("suspended", func(t *testing.T) {
		if err := forge.Suspend("alice", true); err != nil {
			t.Fatal(err)
		}
		r := start(t, token, plain...)
		r.want(control.TypeReady)
		r.want(control.TypeForbidden)
		if m := r.want(control.TypeFailed); m.Reason != control.ReasonTokenRefused {
			t.Errorf("got %s: %s", m.Reason, m.Detail)
		}
	})
}
