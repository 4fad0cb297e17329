package sandbox_test

import (
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
)

// Without a word from the broker a session is read-only, and the child hears of
// a refusal only when the broker has confirmed that it knows.
func TestReadOnlyUntilTold(t *testing.T) {
	forge := newForge(t)
	token := forge.token(t, "bob")
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			r := startOn(t, scheme, forge, token)
			r.want(control.TypeReady)
			s := r.connect()
			mustCall(t, s, "get_my_user_info", nil, `"bob"`)
			create := func() chan string {
				answered := make(chan string, 1)
				go func() {
					text, _ := call(t, s, "create_issue", map[string]any{"owner": "bob", "repo": repoOf(t, forge, token), "title": "made"})
					answered <- text
				}()
				return answered
			}
			answered := create()
			refused := r.want(control.TypeRefused)
			select {
			case text := <-answered:
				t.Fatalf("answered before the broker knew: %s", text)
			default:
			}
			r.confirm(refused)
			if text := <-answered; refused.Reason != control.ReasonReadOnly || !strings.Contains(text, refused.ID) || !strings.Contains(text, "read-only") {
				t.Fatalf("%s %s: got %q", refused.Reason, refused.ID, text)
			}
			r.mode(control.ModeReadWrite)
			if text := <-create(); !strings.Contains(text, `"made"`) {
				t.Fatalf("after the mode was raised: %q", text)
			}
			r.mode(control.ModeReadOnly)
			answered = create()
			r.confirm(r.want(control.TypeRefused))
			if text := <-answered; !strings.Contains(text, "read-only") {
				t.Fatalf("after the mode was lowered: %q", text)
			}
		})
	}
}

func (r *running) confirm(m control.Message) {
	r.t.Helper()
	if err := r.control.Send(r.t.Context(), control.Message{Type: control.TypeAck, ID: m.ID}); err != nil {
		r.t.Fatal(err)
	}
}

// A broker that is gone does not keep the child waiting for ever.
func TestRefusalWithoutABroker(t *testing.T) {
	forge := newForge(t)
	r := startOn(t, "http", forge, forge.token(t, "alice"))
	r.want(control.TypeReady)
	s := r.connect()
	r.control.Close()
	text, failed := call(t, s, "create_issue", map[string]any{"owner": "alice", "repo": "hello", "title": "x"})
	if !failed || !strings.Contains(text, "read-only") {
		t.Fatalf("got %q", text)
	}
}

func TestDeniedPathsOfASession(t *testing.T) {
	forge := newForge(t)
	url := serveHTTP(t, forge)
	for _, tt := range []struct{ setting, path string }{
		{"", "/api/v1/user/applications/oauth2"}, {"close:/user", "/api/v1/user"}, {"open:admin", "/not-in-the-table"},
	} {
		r := start(t, forge.token(t, "alice"), append(environment(url, standinBinary), "FJMCP_SESSION_ROUTES="+tt.setting)...)
		r.want(control.TypeReady)
		r.mode(control.ModeReadWrite)
		s := r.connect()
		done := make(chan *mcp.CallToolResult, 1)
		go func() {
			res, _ := s.CallTool(t.Context(), &mcp.CallToolParams{Name: "fetch_url", Arguments: map[string]any{"url": url + tt.path}})
			done <- res
		}()
		m := r.want(control.TypeRefused)
		r.confirm(m)
		if text := (<-done).Content[0].(*mcp.TextContent).Text; m.Reason != control.ReasonDeniedPath || !strings.Contains(text, "closed to MCP clients") {
			t.Errorf("%q: %s: got %s: %s", tt.setting, tt.path, m.Reason, text)
		}
	}
}

// The forge's answer about large files holds the Authorization that it was asked with.
func TestReflectedTokenIsCut(t *testing.T) {
	forge := newForge(t)
	url := serveHTTP(t, forge)
	for routes, reason := range map[string]control.Reason{"": control.ReasonDeniedPath, "open:lfs": control.ReasonTokenLeaked, "open:everything": control.ReasonTokenLeaked} {
		token := forge.token(t, "alice")
		r := start(t, token, append(environment(url, standinBinary), "FJMCP_SESSION_ROUTES="+routes)...)
		r.want(control.TypeReady)
		r.mode(control.ModeReadWrite)
		s := r.connect()
		answered := make(chan string, 1)
		go func() {
			text, _ := call(t, s, "fetch_url", map[string]any{"url": url + "/alice/hello.git/info/lfs/objects/batch", "method": "POST"})
			answered <- text
		}()
		m := r.want(control.TypeRefused)
		r.confirm(m)
		if text := <-answered; m.Reason != reason || !strings.Contains(text, m.ID) || strings.Contains(text, token) {
			t.Errorf("%q: got %s: %s", routes, m.Reason, text)
		}
	}
}

// The broker hears of a 403, which may mean that the user may not sign in any more.
func TestForbiddenIsReported(t *testing.T) {
	forge := newForge(t)
	r := startOn(t, "https", forge, forge.token(t, "alice"))
	r.want(control.TypeReady)
	s := r.connect()
	mustCall(t, s, "get_my_user_info", nil, `"alice"`)
	if err := forge.Suspend("alice", true); err != nil {
		t.Fatal(err)
	}
	if text, failed := call(t, s, "get_my_user_info", nil); !failed {
		t.Fatalf("a suspended user was served: %s", text)
	}
	r.want(control.TypeForbidden)
}
