package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// mostRefused bounds the memory of whom the audit was told of.
const mostRefused = 10_000

// refusals tells the audit of logins that the policy lets do nothing, of each once in
// ratelimit.Window, since clients try again and again. All count for who observes.
type refusals struct {
	audit *audit.Logger

	mu   sync.Mutex
	told map[string]time.Time // by grant
}

func (r *refusals) tell(ctx context.Context, access model.Access, rule string) {
	e := audit.Event{
		Kind: audit.PolicyRefused, User: access.User.Name, UserID: access.User.Subject, Client: access.Client, ClientID: model.ShortID(access.ClientID),
		Grant: access.GrantID, Outcome: "policy", Rule: rule, Failed: true,
	}
	if r.isNew(access.GrantID, time.Now()) {
		r.audit.Event(ctx, e)
	} else {
		r.audit.Tell(e)
	}
}

func (r *refusals) isNew(grant string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.told[grant]; ok && now.Sub(at) < ratelimit.Window {
		return false
	}
	if len(r.told) >= mostRefused {
		clear(r.told)
	}
	r.told[grant] = now
	return true
}
