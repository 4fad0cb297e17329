package stateless

import (
	"cmp"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/gateway/call"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp/rawjson"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
)

// gatherAll is how long a backend may keep asking for more: what it asks at once, with
// pauses of relay.Gather at most, is handed out at once.
const gatherAll = time.Second

// question is what the backend wants of the client.
type question struct {
	key string // under which it is answered
	mcp.Message
}

// parked is a call that waits for its client.
type parked struct {
	session *session.Session
	server  session.Server
	x       *call.Exchange
	asked   []question
}

// ask takes what the backend wants of the client. An error, for a client that cannot
// do that, ends the exchange.
func (q *request) ask(x *call.Exchange, wanted question) error {
	needs, ok := needsOf(wanted.Message)
	switch {
	case !ok || !q.modern || q.server.Modern || !mcp.Invokes(q.Method):
		q.h.refused(x, wanted, mcp.CodeMethodNotFound, "this client cannot be asked: "+wanted.Method)
		return nil
	case !covers(q.meta.Capabilities, needs):
		x.Cancel(q.r.Context(), call.OutcomeIncapable)
		return incapable(wanted.Method, needs)
	}
	if len(q.asked) == 0 {
		q.askedAt = time.Now()
	}
	q.asked = append(q.asked, wanted)
	return nil
}

// refused tells the backend that it gets no answer. One that has gone, or does not
// wait for it any more, is noticed by what the exchange yields.
func (h *Handler) refused(x *call.Exchange, wanted question, code int, why string) {
	if err := x.Call.Refuse(wanted.key, code, why); err != nil {
		h.Log.Debug("cannot refuse the backend's request", "method", wanted.Method, "error", err)
	}
}

// park keeps the call and returns what to answer: what is wanted of the client. It
// returns nil, and refuses for the client, when there is no room.
func (q *request) park(x *call.Exchange) []byte {
	x.Done() // from now on it is whose who comes back for it
	state, err := q.h.parked.Park(q.session.ID(), &parked{q.session, q.server, x, q.asked}, q.claim())
	if err != nil {
		for _, wanted := range q.asked {
			q.h.refused(x, wanted, mcp.CodeServerError, err.Error())
		}
		q.asked = nil
		return nil
	}
	return mcp.ResultResponse(q.ID(), inputRequired(q.asked, state))
}

func (q *request) claim() claim {
	return claim{UserID: q.access.User.ID, GrantID: q.access.GrantID, ClientID: q.access.ClientID, Request: digest(q.Message), Reads: q.access.ViewReadOnly}
}

// inputRequired is the result that asks the client (2026-07-28, schema
// InputRequiredResult). The keys are those by which the backend is answered.
func inputRequired(asked []question, state string) json.RawMessage {
	var requests json.RawMessage
	for _, wanted := range asked {
		method, _ := json.Marshal(wanted.Method)
		request := []rawjson.Member{{Name: "method", Value: method}}
		if params := wanted.Params(); params != nil {
			request = append(request, rawjson.Member{Name: "params", Value: params})
		}
		requests = rawjson.With(requests, rawjson.Member{Name: wanted.key, Value: rawjson.With(nil, request...)})
	}
	result := []rawjson.Member{{Name: "resultType", Value: []byte(`"input_required"`)}, {Name: "inputRequests", Value: requests}}
	if state != "" {
		quoted, _ := json.Marshal(state)
		result = append(result, rawjson.Member{Name: "requestState", Value: quoted})
	}
	return rawjson.With(nil, result...)
}

// isRetry reports whether the request comes back for a call that has asked.
func (q *request) isRetry() bool {
	state := q.Param("requestState")
	return mcp.Invokes(q.Method) && state != nil && string(state) != "null"
}

// retried returns the parked call that the client has come back for; nil when no
// requestState of ours says which: it may be a backend's own.
func (q *request) retried() (*parked, error) {
	if !q.isRetry() {
		return nil, nil
	}
	p, err := q.h.parked.Take(q.ParamString("requestState"), q.claim(), func(p *parked) error {
		return cmp.Or(q.h.Allow(q.r, p.session, q.access, q.Message), q.checkParams(p.session))
	})
	switch {
	case errors.Is(err, errState):
		return nil, nil
	case errors.Is(err, errGone):
		return nil, invalid(err)
	}
	return p, err
}

// resume continues with a parked call. What the client leaves unanswered, or answers
// with what is not a result, is asked again.
func (q *request) resume(p *parked) (call.Answer, error) {
	q.session, q.server = p.session, p.server
	q.askToLog()
	for _, wanted := range p.asked {
		result := q.Param("inputResponses", wanted.key)
		if len(result) == 0 || result[0] != '{' || !q.h.answer(p.x, wanted, result) {
			q.asked = append(q.asked, wanted)
		}
	}
	q.askedAt = time.Now()
	p.x.Renew(time.Now())
	return q.carry(q.r.Context(), p.x)
}

// answer passes the client's result to the backend. It reports false when that has
// so much to read already that it has to be told again.
func (h *Handler) answer(x *call.Exchange, wanted question, result json.RawMessage) bool {
	m, err := mcp.Parse(mcp.ResultResponse(wanted.ID(), result))
	if err == nil {
		err = x.Call.Respond(m)
	}
	if err != nil { // it does not wait for this any more, or has gone
		h.Log.Debug("cannot answer the backend's request", "method", wanted.Method, "error", err)
	}
	return !errors.Is(err, relay.ErrTooManyCalls)
}

// openURLs is the response that tells what an old backend has the user open before it
// is called again (2025-11-25, URL Elicitation Required Error); nil when m says nothing
// of the kind. The call is over: there is no requestState.
func (q *request) openURLs(m mcp.Message) ([]byte, error) {
	urls := urlsOf(m)
	if len(urls) == 0 || !q.modern || q.server.Modern || !mcp.Invokes(q.Method) {
		return nil, nil
	}
	needs := mcp.ClientCapabilities{Elicitation: &mcp.Elicitation{URL: &struct{}{}}}
	if !covers(q.meta.Capabilities, needs) {
		return nil, incapable(mcp.MethodElicit, needs)
	}
	return mcp.ResultResponse(q.ID(), inputRequired(urls, "")), nil
}

// urlsOf reads the error.
func urlsOf(m mcp.Message) []question {
	if m.ErrorCode() != mcp.CodeURLElicitation {
		return nil
	}
	var data struct{ Elicitations []json.RawMessage }
	if json.Unmarshal(m.ErrorField("data"), &data) != nil {
		return nil
	}
	var all []question
	for i, params := range data.Elicitations {
		key := "url-" + strconv.Itoa(i+1)
		raw := mcp.NewRequest([]byte(strconv.Quote(key)), mcp.MethodElicit, params)
		if m, err := mcp.Parse(raw); err == nil && m.ParamString("mode") == "url" {
			all = append(all, question{key, m})
		}
	}
	return all
}

// needsOf tells what a client has to be capable of to be asked a question; ok is
// false for what no client can be asked.
func needsOf(question mcp.Message) (needs mcp.ClientCapabilities, ok bool) {
	has := &struct{}{}
	switch question.Method {
	case mcp.MethodRoots:
		needs.Roots = has
	case mcp.MethodSample:
		needs.Sampling = &mcp.Sampling{}
		if question.Param("tools") != nil || question.Param("toolChoice") != nil {
			needs.Sampling.Tools = has
		}
	case mcp.MethodElicit:
		needs.Elicitation = &mcp.Elicitation{Form: has}
		if question.ParamString("mode") == "url" {
			needs.Elicitation = &mcp.Elicitation{URL: has}
		}
	default:
		return needs, false
	}
	return needs, true
}

// covers reports whether a client that declares has can do what needs says.
// Elicitation without a mode means forms (2026-07-28, Elicitation, Capabilities).
func covers(has, needs mcp.ClientCapabilities) bool {
	if e := has.Elicitation; e != nil && e.Form == nil && e.URL == nil {
		has.Elicitation = &mcp.Elicitation{Form: &struct{}{}}
	}
	switch {
	case needs.Roots != nil:
		return has.Roots != nil
	case needs.Sampling != nil:
		return has.Sampling != nil && (needs.Sampling.Tools == nil || has.Sampling.Tools != nil)
	case needs.Elicitation != nil:
		return has.Elicitation != nil &&
			(needs.Elicitation.Form == nil || has.Elicitation.Form != nil) &&
			(needs.Elicitation.URL == nil || has.Elicitation.URL != nil)
	}
	return true
}
