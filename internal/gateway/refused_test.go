package gateway

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// A client that tries again and again is told of once, and counts each time.
func TestRefusalsAreToldOnce(t *testing.T) {
	var log bytes.Buffer
	r := refusals{audit: audit.New(&log), told: map[string]time.Time{}}
	counted := 0
	r.audit.Observe(func(e audit.Event) { counted++ })
	for range 3 {
		r.tell(t.Context(), model.Access{User: model.User{Name: "alice", Subject: "7"}, GrantID: "g1", Client: "Claude", ClientID: "c1"}, "no-alice")
	}
	r.tell(t.Context(), model.Access{User: model.User{Name: "bob"}, GrantID: "g2"}, "")
	if n := strings.Count(log.String(), "FJMCP_EVENT=policy_refused"); n != 2 || counted != 4 || strings.Count(log.String(), "FJMCP_RULE=no-alice") != 1 {
		t.Errorf("%d events, %d counted:\n%s", n, counted, &log)
	}
	now := time.Now()
	if r.isNew("g1", now) || !r.isNew("g1", now.Add(10*time.Minute)) {
		t.Error("it is not told again after ten minutes")
	}
}
