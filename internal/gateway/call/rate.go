package call

import (
	"fmt"
	"net/http"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
)

// limit refuses a request of one of kinds whose user makes too many of them (MCP, Tools,
// Security Considerations: servers must rate limit tool invocations). Nothing has been
// done for it yet, and a client in a loop sends many: so the audit writes the first alone,
// and all are counted in the metrics.
func (xs *Exchanges) limit(r *http.Request, s *session.Session, access model.Access, m mcp.Message) error {
	wait, tell := xs.Calls.Take(access.User.ID)
	if wait == 0 {
		return nil
	}
	refused := audit.Event{Kind: kinds[m.Method], Outcome: string(outcomeRateLimited), Failed: true}
	if refused.Kind == audit.ToolCall {
		refused.Tool = m.ParamString("name")
	}
	xs.Audit.Tell(refused)
	if tell {
		e := xs.request(r, s, access, m).event()
		e.Kind, e.Outcome, e.Failed = audit.RateLimited, "calls", true
		e.Detail = "more than " + xs.Calls.String()
		xs.Audit.Event(r.Context(), e)
	}
	return tooOften(m.Method, xs.Calls.String(), wait)
}

// tooOften goes with status 200, since clients take another for a broken connection or a
// login that is over.
func tooOften(method, limit string, wait time.Duration) *Fault {
	in := "1 second"
	if n := ratelimit.Seconds(wait); n > 1 {
		in = fmt.Sprintf("%d seconds", n)
	}
	f := NewFault(http.StatusOK, mcp.CodeServerError, fmt.Sprintf("This was not carried out: this server allows each user %s, and there were more. Try again in %s, and call less often.", limit, in))
	f.Result = method == mcp.MethodToolsCall
	return f
}
