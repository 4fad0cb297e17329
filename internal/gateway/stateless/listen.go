package stateless

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/fjmcp/fjmcp-broker/internal/gateway/call"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp/rawjson"
	"github.com/fjmcp/fjmcp-broker/internal/session/subscription"
)

// filter is what a listener asks for (2026-07-28, schema SubscriptionFilter).
type filter struct {
	Tools     bool     `json:"toolsListChanged,omitempty"`
	Prompts   bool     `json:"promptsListChanged,omitempty"`
	Resources bool     `json:"resourcesListChanged,omitempty"`
	URIs      []string `json:"resourceSubscriptions,omitempty"`
}

// maxURIs bounds what one listener may subscribe to.
const maxURIs = 1000

func readFilter(m mcp.Message) (filter, error) {
	var f filter
	raw := m.Param("notifications")
	if len(raw) == 0 || raw[0] != '{' || json.Unmarshal(raw, &f) != nil {
		return filter{}, errors.New(`params member "notifications" is missing or malformed`)
	}
	if len(f.URIs) > maxURIs {
		return filter{}, errors.New("too many resourceSubscriptions")
	}
	return f, nil
}

// listen answers subscriptions/listen for an old backend: with what it says beside
// all calls, until the client closes the stream, the session ends or the broker
// does.
func (q *request) listen() {
	f, err := readFilter(q.Message)
	if err != nil {
		q.refuse(invalid(err))
		return
	}
	ctx, cancel := q.whileServing()
	defer cancel()
	sub, err := q.session.Subscribe(ctx, q.access, subscription.Filter(f))
	switch {
	case errors.Is(err, subscription.ErrURITooLong):
		q.refuse(invalid(err))
		return
	case errors.Is(err, subscription.ErrTooMany):
		q.refuse(&fault{http.StatusTooManyRequests, mcp.CodeServerError, err.Error(), nil})
		return
	case err != nil:
		q.h.cfg.Exchanges.Fail(q.w, q.ID(), err)
		return
	}
	defer sub.Close()
	notifications, _ := json.Marshal(filter(sub.Honoured()))
	acknowledged := rawjson.With(nil, rawjson.Member{Name: "_meta", Value: q.tag(nil)}, rawjson.Member{Name: "notifications", Value: notifications})
	if q.stream().Message("", mcp.NewNotification(mcp.MethodAcknowledged, acknowledged)) != nil {
		return
	}
	q.follow(ctx, sub)
}

// errBrokerEnds ends what would never end by itself.
var errBrokerEnds = errors.New("the broker ends")

// whileServing is the request's context, which ends with the broker as well.
func (q *request) whileServing() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(q.r.Context())
	go func() {
		select {
		case <-q.h.cfg.Draining:
			cancel(errBrokerEnds)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// follow passes on what the subscription yields.
func (q *request) follow(ctx context.Context, sub *subscription.Subscription) {
	for {
		patience, cancel := context.WithTimeoutCause(ctx, q.h.cfg.KeepAlive, call.ErrQuiet)
		raw, err := sub.Next(patience)
		cancel()
		switch {
		case q.r.Context().Err() != nil:
			return
		case errors.Is(err, call.ErrQuiet):
			err = q.stream().KeepAlive()
		case err == nil:
			err = q.notify(raw)
		default:
			q.close()
			return
		}
		if err != nil {
			return
		}
	}
}

// close ends a subscription that is not the client's to end.
func (q *request) close() {
	q.reply(http.StatusOK, mcp.ResultResponse(q.ID(), rawjson.With(nil,
		rawjson.Member{Name: "resultType", Value: []byte(`"complete"`)}, rawjson.Member{Name: "_meta", Value: q.tag(nil)})))
}

// passListen answers subscriptions/listen with what a backend of 2026-07-28 says
// to it.
func (q *request) passListen() {
	x := q.begin(q.Message)
	if x == nil {
		return
	}
	defer x.Done()
	ctx, cancel := q.whileServing()
	defer cancel()
	for {
		e, err := x.Next(ctx, q.h.cfg.KeepAlive)
		switch {
		case q.r.Context().Err() != nil:
			x.Cancel(ctx, call.OutcomeCancelled)
			return
		case errors.Is(err, call.ErrQuiet):
			err = q.stream().KeepAlive()
		case err == nil && !e.Final:
			err = q.event(x, e)
		case err == nil && e.Raw != nil:
			q.end(x.End(ctx, e, nil))
			return
		default: // the broker ends, or the backend has
			x.Cancel(ctx, call.OutcomeCancelled)
			q.close()
			return
		}
		if err != nil { // the client does not read any more
			x.Cancel(ctx, call.OutcomeCancelled)
			return
		}
	}
}

// notify sends what the backend says under the subscription's id.
func (q *request) notify(raw []byte) error {
	m, err := mcp.Parse(raw)
	if err != nil {
		return nil
	}
	meta := rawjson.Member{Name: "_meta", Value: q.tag(m.Param("_meta"))}
	return q.stream().Message("", m.WithParams(rawjson.With(m.Params(), meta)))
}

// tag is a _meta with the subscription's id, which is the request's.
func (q *request) tag(meta json.RawMessage) json.RawMessage {
	return rawjson.With(meta, rawjson.Member{Name: mcp.MetaSubscriptionID, Value: q.ID()})
}
