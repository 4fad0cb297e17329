package call

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
)

// Fail answers a request that could not begin, or had no session; a nil id
// becomes null. A JSON-RPC error about a request goes with
// status 200, since clients show its message and take a 5xx for a broken
// connection.
func (xs *Exchanges) Fail(w http.ResponseWriter, id json.RawMessage, err error) {
	switch {
	case errors.Is(err, model.ErrForgejoGrantDead), errors.Is(err, model.ErrInsufficientScope), errors.Is(err, model.ErrRevoked):
		xs.cfg.Auth.Challenge(w, xs.cfg.Endpoint, err)
	case errors.Is(err, model.ErrNotFound):
		Reply(w, http.StatusNotFound, mcp.ErrorResponse(id, mcp.CodeSessionNotFound, mcp.SessionNotFound))
	case errors.Is(err, relay.ErrTooManyCalls):
		w.Header().Set("Retry-After", "1")
		Reply(w, http.StatusTooManyRequests, xs.Refusal(id, err))
	case errors.Is(err, session.ErrBusy), errors.Is(err, session.ErrDraining):
		w.Header().Set("Retry-After", "30")
		Reply(w, http.StatusServiceUnavailable, xs.Refusal(id, err))
	case errors.Is(err, relay.ErrNoQuestion):
		Reply(w, http.StatusBadRequest, mcp.ErrorResponse(id, mcp.CodeInvalidRequest, "this response answers no request of the server"))
	case errors.Is(err, context.Canceled):
		// The client has left; nobody reads an answer.
	default:
		Reply(w, http.StatusOK, xs.Refusal(id, err))
	}
}

// Refusal is the JSON-RPC error for a request that could not begin. What its
// words hide is logged, unless the audit has it.
func (xs *Exchanges) Refusal(id json.RawMessage, err error) []byte {
	if errors.Is(err, ErrNoMethod) {
		return mcp.ErrorResponse(id, mcp.CodeMethodNotFound, Message(err))
	}
	if errors.Is(err, relay.ErrTooManyCalls) || errors.Is(err, session.ErrBusy) || errors.Is(err, session.ErrDraining) || errors.Is(err, ErrTimeout) {
		return mcp.ErrorResponse(id, mcp.CodeServerError, Message(err))
	}
	if session.StartReason(err) == "" {
		xs.cfg.Log.Error("cannot serve a request", "error", err)
	}
	return mcp.ErrorResponse(id, mcp.CodeInternalError, Message(err))
}

// refusalText answers a tool call whose request to the forge was held back, in
// words for the model and its user.
func (xs *Exchanges) refusalText(reason control.Reason) string {
	if reason == control.ReasonReadOnly {
		return "This connection to Forgejo is read-only, so this was refused and nothing was changed. " +
			"To allow changes, disconnect this application at " + xs.cfg.PublicURL.String() + "/account and connect it again with read and write access."
	}
	return "This server keeps connected applications away from parts of Forgejo that give lasting access, such as keys, tokens and administration, " +
		"whatever access they have. This was refused and nothing was sent. Do it in Forgejo itself. What is connected is listed at " + xs.cfg.PublicURL.String() + "/account."
}

// Message words an error for the client's user: what is wrong and who can
// mend it, without internals.
func Message(err error) string {
	switch {
	case errors.Is(err, ErrNoMethod):
		return "method not found: it is not of this session's revision"
	case errors.Is(err, relay.ErrTooManyCalls):
		return "too many calls in flight in this session"
	case errors.Is(err, session.ErrBusy):
		return "all sessions this server allows are busy; close another client or try again shortly"
	case errors.Is(err, session.ErrDraining):
		return "this server is under maintenance and takes no new calls at the moment; try again in a few minutes"
	case errors.Is(err, model.ErrForgejoDown):
		return "Forgejo cannot be reached right now; try again later"
	case errors.Is(err, model.ErrForgejoGrantDead):
		return "Forgejo no longer accepts this login; connect again to log in"
	case errors.Is(err, ErrTimeout):
		return "the backend did not answer in time"
	case errors.Is(err, relay.ErrSuspended):
		return "the server is being restarted; try again"
	case errors.Is(err, relay.ErrClosed):
		return "the session ended while the call ran; try again"
	}
	switch session.StartReason(err) {
	case control.ReasonBackendMissing, control.ReasonBackendNotExecutable:
		return "the forgejo-mcp program is missing or cannot be run on the server; its operator has to install it"
	case control.ReasonBackendTooOld:
		return "the forgejo-mcp program on the server is too old; its operator has to install version " + control.OldestBackend + " or newer"
	case control.ReasonForgeUnreachable:
		return "Forgejo cannot be reached right now; try again later"
	case control.ReasonTokenRefused:
		return "Forgejo refused access for this account; log in at Forgejo in a browser to see why, then connect again"
	case control.ReasonCrashed:
		return "the forgejo-mcp program ended unexpectedly; try again, and tell the server's operator if it happens again"
	case session.ReasonCrashLoop:
		return "the forgejo-mcp program keeps ending unexpectedly and is left alone for a while; try again later, and tell the server's operator"
	case session.ReasonTimeout:
		return "the forgejo-mcp program did not answer in time; try again"
	}
	return "the server cannot carry this out right now; its operator finds the cause in the journal"
}

// Reply answers with one JSON-RPC message.
func Reply(w http.ResponseWriter, status int, message []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(message))) // else a long one goes in chunks
	w.WriteHeader(status)
	_, _ = w.Write(message)
}

// Unreadable answers a body that is no message: err is mcp.ErrNotJSON or
// mcp.ErrNotMessage.
func Unreadable(w http.ResponseWriter, err error) {
	code := mcp.CodeInvalidRequest
	if errors.Is(err, mcp.ErrNotJSON) {
		code = mcp.CodeParseError
	}
	Reply(w, http.StatusBadRequest, mcp.ErrorResponse(nil, code, err.Error()))
}
