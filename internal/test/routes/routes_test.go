package routes

import (
	"slices"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

// down is the house from the top down. No stack climbs in it: what a wing above has to
// say to a request is returned to it. Of the two on one floor the gateway asks the
// authorization server whom a token stands for.
var down = []string{"gateway", "authserver", "session", "launcher", "forgejo", "store", "proto", "daemon"}

// longest is how many wings one stack may enter, and a tool call in all, besides proto,
// whose words all speak.
const longest = 5

// route is what one kind of request enters.
type route struct {
	enters string // always
	may    string // when something is not at hand: a token, a row, a unit
}

// routes are the requests of a client that logs in and calls a tool, by each transport.
// A unit's start goes to the launcher and the forge; a call that finds its session
// running enters neither.
var routes = map[string]route{
	"GET /.well-known/oauth-protected-resource/mcp": {"authserver daemon", ""},
	"GET /.well-known/oauth-protected-resource/sse": {"authserver daemon", ""},
	"GET /.well-known/oauth-authorization-server":   {"authserver daemon", ""},

	"GET /.well-known/oauth-protected-resource/mcp/x/users/readonly": {"authserver daemon", ""},

	"POST /oauth/register":  {"authserver store daemon", ""},
	"GET /oauth/authorize":  {"authserver store daemon", ""},
	"POST /oauth/authorize": {"authserver store daemon", ""},
	"GET /oauth/callback":   {"authserver forgejo store daemon", ""},
	"POST /oauth/token":     {"authserver session store daemon", "launcher forgejo"},

	"POST /mcp initialize":                {"gateway authserver session daemon", "launcher forgejo store"},
	"POST /mcp notifications/initialized": {"gateway authserver session", "store"},
	"POST /mcp tools/call":                {"gateway authserver session daemon", "store"},
	"GET /mcp":                            {"gateway authserver session proto", "store"},
	"DELETE /mcp":                         {"gateway authserver session store daemon", "launcher"},

	"POST /mcp tools/call 2026-07-28 first": {"gateway authserver session store daemon", "launcher forgejo"}, // the session's start, not the request's
	"POST /mcp tools/call 2026-07-28":       {"gateway authserver session daemon", "store"},

	"POST /mcp/x/users/readonly initialize":                {"gateway authserver session daemon", "launcher forgejo store"},
	"POST /mcp/x/users/readonly notifications/initialized": {"gateway authserver session", "store"},
	"POST /mcp/x/users/readonly tools/call":                {"gateway authserver session daemon", "store"},
	"GET /mcp/x/users/readonly":                            {"gateway authserver session proto", "store"},
	"DELETE /mcp/x/users/readonly":                         {"gateway authserver session store daemon", "launcher"},

	"GET /sse":                  {"gateway authserver session store proto daemon", ""},
	"POST /messages initialize": {"gateway authserver session store daemon", "launcher forgejo"},
	"POST /messages notifications/initialized": {"gateway authserver session", "store"},
	"POST /messages tools/call":                {"gateway authserver session", "store daemon"}, // audited with the response
}

func TestRoutes(t *testing.T) {
	w := start(t)
	c := w.call(loginclient.Connect, "/mcp")
	w.callStateless(c, "first")
	w.callStateless(c, "")
	w.must(c.Close())
	w.must(w.call(loginclient.ConnectSSE, "/sse").Close())
	w.must(w.call(loginclient.Connect, "/mcp/x/users/readonly").Close())
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, ways := range w.routes {
		if name == background {
			checkClimbs(t, name, ways)
			continue
		}
		r, ok := routes[name]
		if !ok {
			t.Errorf("%s is not in the table", name)
			continue
		}
		checkRoute(t, name, r, ways)
	}
	for name := range routes {
		if w.routes[name] == nil {
			t.Errorf("%s was not asked for", name)
		}
	}
}

// checkRoute holds what a route has entered against the table.
func checkRoute(t *testing.T, name string, r route, ways map[string][]string) {
	allowed := strings.Fields(r.enters + " " + r.may)
	entered := map[string]bool{}
	checkClimbs(t, name, ways)
	for text, way := range ways {
		for _, wing := range way {
			entered[wing] = true
			if !slices.Contains(allowed, wing) {
				t.Errorf("%s: %s enters %s, which the table does not allow", name, text, wing)
			}
		}
	}
	for _, wing := range strings.Fields(r.enters) {
		if !entered[wing] {
			t.Errorf("%s does not enter %s", name, wing)
		}
	}
	if strings.HasSuffix(name, "tools/call") && len(allowed) > longest {
		t.Errorf("%s may enter %d wings", name, len(allowed))
	}
}

func checkClimbs(t *testing.T, name string, ways map[string][]string) {
	for text, way := range ways {
		if fault := climbs(way); fault != "" {
			t.Errorf("%s: %s %s", name, text, fault)
		}
	}
}

// climbs says what is wrong with the wings of one stack; "" if nothing is.
func climbs(way []string) string {
	if len(way) > longest {
		return "is too long"
	}
	at := 0
	for _, wing := range way {
		i := slices.Index(down, wing)
		switch {
		case i < 0:
			return "is through a wing that is not on the way down"
		case i < at:
			return "climbs back up to " + wing
		}
		at = i
	}
	return ""
}

// What the test above would say of ways that there are not.
func TestWrongWaysAreFound(t *testing.T) {
	for way, want := range map[string]string{
		"gateway session store":                           "",
		"gateway authserver store":                        "",
		"gateway session proto":                           "",
		"gateway session gateway":                         "climbs back up to gateway",
		"authserver store authserver":                     "climbs back up to authserver",
		"authserver gateway":                              "climbs back up to gateway",
		"gateway operator":                                "is through a wing that is not on the way down",
		"gateway authserver session forgejo store daemon": "is too long",
	} {
		if got := climbs(strings.Fields(way)); got != want {
			t.Errorf("%s: %q, want %q", way, got, want)
		}
	}
}
