package stateless

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/fjmcp/fjmcp-broker/internal/gateway/call"
	"github.com/fjmcp/fjmcp-broker/internal/gateway/view"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp/rawjson"
	"github.com/fjmcp/fjmcp-broker/internal/session/subscription"
)

// readFilter reads what a listener asks for (2026-07-28, schema SubscriptionFilter).
func readFilter(m mcp.Message) (f subscription.Filter, err error) {
	raw := m.Param("notifications")
	if len(raw) == 0 || raw[0] != '{' || json.Unmarshal(raw, &f) != nil {
		return f, errors.New(`params member "notifications" is missing or malformed`)
	}
	if len(f.URIs) > subscription.MaxURIs {
		return f, errors.New("too many resourceSubscriptions")
	}
	return f, nil
}

// listen answers subscriptions/listen for an old backend: with what it says besides
// all calls, until the client closes the stream, the session ends or the broker
// does.
func (q *request) listen() (call.Answer, error) {
	f, err := readFilter(q.Message)
	if err != nil {
		return call.Answer{}, invalid(err)
	}
	f.URIs = q.seen(f.URIs)
	ctx, cancel := q.whileServing()
	sub, err := q.session.Subscribe(ctx, q.access, f)
	switch {
	case err == nil:
	case errors.Is(err, subscription.ErrURITooLong):
		err = invalid(err)
	case errors.Is(err, subscription.ErrTooMany):
		err = call.NewFault(http.StatusTooManyRequests, mcp.CodeServerError, err.Error())
	}
	if err != nil {
		cancel()
		return call.Answer{}, err
	}
	notifications, _ := json.Marshal(sub.Honoured())
	acknowledged := rawjson.With(nil, rawjson.Member{Name: "_meta", Value: q.tag(nil)}, rawjson.Member{Name: "notifications", Value: notifications})
	answer := q.stream(mcp.NewNotification(mcp.MethodAcknowledged, acknowledged), func() ([]byte, *last) { return q.notice(ctx, sub) }, func() {})
	answer.Done = func() {
		sub.Close()
		cancel()
	}
	return answer, nil
}

// errBrokerEnds ends what would never end by itself.
var errBrokerEnds = errors.New("the broker ends")

// whileServing is the request's context, which ends with the broker as well.
func (q *request) whileServing() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(q.r.Context())
	go func() {
		select {
		case <-q.h.Draining:
			cancel(errBrokerEnds)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// notice waits for what the subscription yields next.
func (q *request) notice(ctx context.Context, sub *subscription.Subscription) ([]byte, *last) {
	for {
		patience, cancel := context.WithTimeoutCause(ctx, call.KeepAlive, call.ErrQuiet)
		raw, err := sub.Next(patience)
		cancel()
		switch {
		case q.r.Context().Err() != nil:
			return nil, &last{err: q.r.Context().Err()}
		case errors.Is(err, call.ErrQuiet):
			return nil, nil
		case err != nil:
			return nil, q.closed()
		}
		if m, err := mcp.Parse(raw); err == nil {
			meta := rawjson.Member{Name: "_meta", Value: q.tag(m.Param("_meta"))}
			return m.WithParams(rawjson.With(m.Params(), meta)), nil
		}
	}
}

// closed ends a subscription that is not the client's to end.
func (q *request) closed() *last {
	return &last{answer: call.Answer{Raw: mcp.ResultResponse(q.ID(), rawjson.With(nil,
		rawjson.Member{Name: "resultType", Value: []byte(`"complete"`)}, rawjson.Member{Name: "_meta", Value: q.tag(nil)}))}}
}

// seen leaves out resources that are hidden, which are not honoured.
func (q *request) seen(uris []string) []string {
	f := view.For(q.r.Context(), q.access)
	return slices.DeleteFunc(uris, func(uri string) bool { return f.Resource(uri).Hidden() })
}

// passListen answers subscriptions/listen with what a backend of 2026-07-28 says
// to it, and the broker beside it. What is wrong with the request, it says.
func (q *request) passListen() (call.Answer, error) {
	q.filter, _ = readFilter(q.Message)
	m := q.Message
	if n := len(q.filter.URIs); n > 0 {
		if seen := q.seen(q.filter.URIs); len(seen) < n {
			uris, _ := json.Marshal(seen)
			m = m.WithParam(uris, "notifications", "resourceSubscriptions")
		}
	}
	x, err := q.h.Begin(q.r, q.session, q.access, m)
	if err != nil {
		return call.Answer{}, err
	}
	ctx, cancel := q.whileServing()
	answer, err := q.carry(ctx, x)
	answer.Done = func() {
		x.Done()
		cancel()
	}
	return answer, err
}

// listened is what of a notification who listens to a modern backend is told. The broker
// tells of all lists that the backend has, once it was told that they are listened to.
func (q *request) listened(m mcp.Message) []byte {
	switch m.Method {
	case mcp.MethodAcknowledged:
		q.acked = true
		return m.WithParam(q.honoured(m.Param("notifications")), "notifications").Raw
	case mcp.MethodToolsChanged:
		return q.told(m, q.filter.Tools)
	case mcp.MethodPromptsChanged:
		return q.told(m, q.filter.Prompts)
	case mcp.MethodResourcesChanged:
		return q.told(m, q.filter.Resources)
	}
	return m.Raw
}

func (q *request) told(m mcp.Message, asked bool) []byte {
	if !asked || !q.acked {
		return nil
	}
	return m.Raw
}

// honoured adds to what a modern backend honours of the filter what the broker does.
func (q *request) honoured(notifications json.RawMessage) json.RawMessage {
	can := q.server.Supports()
	for name, does := range map[string]bool{
		"toolsListChanged": q.filter.Tools && can.Tools, "promptsListChanged": q.filter.Prompts && can.Prompts, "resourcesListChanged": q.filter.Resources && can.Resources,
	} {
		if does {
			notifications = rawjson.With(notifications, rawjson.Member{Name: name, Value: []byte("true")})
		}
	}
	return notifications
}

// tag is a _meta with the subscription's id, which is the request's.
func (q *request) tag(meta json.RawMessage) json.RawMessage {
	return rawjson.With(meta, rawjson.Member{Name: mcp.MetaSubscriptionID, Value: q.ID()})
}
