package forgeproxy

import (
	"net/http"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
)

// In a probe's mode the version is told, and nothing reaches the forge, whatever is open.
func TestProbing(t *testing.T) {
	g := newGuarded(t, "open:everything")
	g.SetMode(control.ModeProbe, nil)
	if status, body := g.send(t, "GET", "/git/api/v1/version", "", ""); status != http.StatusOK || !strings.Contains(body, `"version":`) {
		t.Errorf("got %d %s", status, body)
	}
	for _, r := range [][2]string{
		{"POST", "/git/api/v1/version"}, {"GET", "/git/api/v1/version/"}, {"GET", "/git/api/v1/user"}, {"GET", "/api/v1/version"},
		{"GET", "/git/login/oauth/userinfo"}, {"DELETE", "/git/api/v1/repos/a/b"}, {"GET", "/git/"},
	} {
		if status, body := g.send(t, r[0], r[1], "", ""); status != http.StatusForbidden {
			t.Errorf("%s %s: got %d %s", r[0], r[1], status, body)
		}
	}
	if len(g.reached) != 0 {
		t.Errorf("the forge got %q", g.reached)
	}
	g.SetMode(control.ModeReadOnly, nil)
	if g.send(t, "GET", "/git/api/v1/version", "", ""); len(g.reached) != 1 {
		t.Errorf("in another mode the forge got %q", g.reached)
	}
}
