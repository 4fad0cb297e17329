package session

import (
	"context"
	"errors"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/session/subscription"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// notices are a shared session's. It is safe for concurrent use.
type notices struct {
	level         logLevel
	subscriptions *subscription.Set
}

// newNotices returns the notices of a session without a unit.
func newNotices() *notices { return &notices{subscriptions: subscription.NewSet()} }

// Attach makes u, whose backend says server of itself, the one that logs and tells of
// changes. A modern backend does so for its own calls only. Errors: relay.ErrClosed, or
// ctx's.
func (n *notices) Attach(ctx context.Context, u *unit.Unit, server unit.Server) error {
	can := server.Supports()
	if server.Modern {
		can = unit.Supports{}
	}
	var tell tellLevel
	if can.Logging {
		tell = told{u}.level
	}
	if err := n.level.attach(ctx, tell); err != nil {
		return err
	}
	lists := subscription.Filter{Tools: can.ToolsChanged, Prompts: can.PromptsChanged, Resources: can.ResourcesChanged}
	return n.subscriptions.Attach(ctx, told{u}, lists, can.ResourcesSubscribe)
}

// LogFrom has the backend log from level on, one of MCP's, unless it logs more already.
// One that does not log is not told; a later one is. Errors: ctx's.
func (n *notices) LogFrom(ctx context.Context, level string) error { return n.level.ask(ctx, level) }

// Subscribe is subscription.Set.Subscribe.
func (n *notices) Subscribe(ctx context.Context, f subscription.Filter) (*subscription.Subscription, error) {
	return n.subscriptions.Subscribe(ctx, f)
}

// Take gives what the backend said to those who have subscribed to it.
func (n *notices) Take(m mcp.Message) { n.subscriptions.Publish(m) }

// Close ends all subscriptions, with the session.
func (n *notices) Close() { n.subscriptions.Close() }

// told is a unit as the one that logs, and the backend of subscriptions.
type told struct{ unit *unit.Unit }

func (t told) level(ctx context.Context, level string) error {
	return t.unit.Ask(ctx, mcp.MethodSetLoggingLevel, map[string]string{"level": level})
}

// Subscribe implements subscription.Backend.
func (t told) Subscribe(ctx context.Context, uri string) error {
	return t.ask(ctx, mcp.MethodSubscribe, uri)
}

// Unsubscribe implements subscription.Backend.
func (t told) Unsubscribe(ctx context.Context, uri string) error {
	return t.ask(ctx, mcp.MethodUnsubscribe, uri)
}

func (t told) ask(ctx context.Context, method, uri string) error {
	err := t.unit.Ask(ctx, method, map[string]string{"uri": uri})
	if errors.Is(err, unit.ErrRefused) {
		return subscription.ErrRefused
	}
	return err
}
