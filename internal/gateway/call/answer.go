package call

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// Answer is what a transport says to a request. The transports return it, or an error
// as Refusal knows it; package gateway alone writes. The zero value is status 200
// without a body.
type Answer struct {
	Status  int    // 0 means 200
	Session string // the Mcp-Session-Id to announce, "" for none
	Raw     []byte // the body, one JSON-RPC message; nil for none
	Text    string // the body where it is no message

	// Stream, if set, makes the answer an event stream, which it fills until it
	// returns. Raw of what it returns, or the error, is the stream's last message; with
	// neither there is none.
	Stream func(out *mcp.EventStream) (Answer, error)

	// Done, if set, is called once when the answer has been written or cannot be.
	Done func()
}

// Silence answers a request that gets no response, with a stream that ends at once.
func Silence() Answer {
	return Answer{Stream: func(*mcp.EventStream) (Answer, error) { return Answer{}, nil }}
}

// Fault is an error that says itself how the client is told.
type Fault struct {
	Status     int           // of HTTP
	Code       int           // of JSON-RPC
	Text       string        // without internals
	Data       any           // of the JSON-RPC error; nil for none
	RetryAfter time.Duration // when to try again; 0 says nothing
	Allow      string        // the methods that are allowed, for status 405
	Result     bool          // told as the result of a tool, which models read, in place of a JSON-RPC error
}

// NewFault returns a Fault that has no more than these.
func NewFault(status, code int, text string) *Fault {
	return &Fault{Status: status, Code: code, Text: text}
}

func (f *Fault) Error() string { return f.Text }

// Message is the response to the request of that id; a nil id becomes null.
func (f *Fault) Message(id json.RawMessage) []byte {
	if f.Result {
		return mcp.ToolError(id, f.Text)
	}
	return mcp.ErrorResponseWith(id, f.Code, f.Text, f.Data)
}

// failures are told apart in this order, with status, code and retry of a Fault. text says
// what is wrong and who can mend it; "" leaves it to the error's own. What has happened to
// a request goes with status 200, since clients show the message of a JSON-RPC error and
// take a 5xx for a broken connection.
var failures = []struct {
	err          error
	status, code int
	retry        time.Duration
	text         string
}{
	{model.ErrNotFound, http.StatusNotFound, mcp.CodeSessionNotFound, 0, mcp.SessionNotFound},
	{session.ErrOtherView, http.StatusBadRequest, mcp.CodeInvalidRequest, 0,
		"this session began with another wish to read only; use the same address and the same " + mcp.HeaderReadOnly + " header for all of a session, or send initialize for another"},
	{mcp.ErrNotJSON, http.StatusBadRequest, mcp.CodeParseError, 0, ""},
	{mcp.ErrNotMessage, http.StatusBadRequest, mcp.CodeInvalidRequest, 0, ""},
	{ErrNoMethod, http.StatusOK, mcp.CodeMethodNotFound, 0, "method not found: it is not of this session's revision"},
	{relay.ErrNoQuestion, http.StatusBadRequest, mcp.CodeInvalidRequest, 0,
		"this response answers no request of the server"},
	{relay.ErrTooManyCalls, http.StatusTooManyRequests, mcp.CodeServerError, time.Second,
		"too many calls in flight in this session"},
	{session.ErrBusy, http.StatusServiceUnavailable, mcp.CodeServerError, 30 * time.Second,
		"all sessions this server allows are busy; close another client or try again shortly"},
	{session.ErrDraining, http.StatusServiceUnavailable, mcp.CodeServerError, 30 * time.Second,
		"this server is under maintenance and takes no new calls at the moment; try again in a few minutes"},
	{audit.ErrMute, http.StatusServiceUnavailable, mcp.CodeServerError, 30 * time.Second,
		"this server takes no calls while it cannot write its audit; tell its operator, who sees the cause with fjmcpctl status"},
	{model.ErrForgejoMisconfigured, http.StatusOK, mcp.CodeInternalError, 0,
		"this server's connection to Forgejo is not set up correctly; tell its operator, logging in again does not help"},
	{model.ErrForgejoDown, http.StatusOK, mcp.CodeInternalError, 0, forgejoDown},
	{model.ErrForgejoGrantDead, http.StatusOK, mcp.CodeInternalError, 0,
		"Forgejo no longer accepts this login; connect again to log in"},
	{ErrTimeout, http.StatusOK, mcp.CodeServerError, 0, "the backend did not answer in time"},
	{relay.ErrSuspended, http.StatusOK, mcp.CodeInternalError, 0, "the server is being restarted; try again"},
	{relay.ErrClosed, http.StatusOK, mcp.CodeInternalError, 0, "the session ended while the call ran; try again"},
}

const (
	forgejoDown = "Forgejo cannot be reached right now; try again later"
	noBackend   = "the forgejo-mcp program is missing or cannot be run on the server; its operator has to install it"
)

// reasons words why a session could not be started; "" for none that is told.
var reasons = map[control.Reason]string{
	"":                                 "the server cannot carry this out right now; its operator finds the cause in the journal",
	control.ReasonBackendMissing:       noBackend,
	control.ReasonBackendNotExecutable: noBackend,
	control.ReasonBackendTooOld: "the forgejo-mcp program on the server is too old; its operator has to install version " +
		control.OldestBackend + " or newer",
	control.ReasonForgeUnreachable: forgejoDown,
	control.ReasonTokenRefused: "Forgejo refused access for this account; " +
		"log in at Forgejo in a browser to see why, then connect again",
	control.ReasonCrashed: "the forgejo-mcp program ended unexpectedly; try again, and tell the server's operator if it happens again",
	session.ReasonCrashLoop: "the forgejo-mcp program keeps ending unexpectedly and is left alone for a while; " +
		"try again later, and tell the server's operator",
	session.ReasonTimeout: "the forgejo-mcp program did not answer in time; try again",
}

func tell(err error) *Fault {
	for _, t := range failures {
		if errors.Is(err, t.err) {
			return &Fault{Status: t.status, Code: t.code, RetryAfter: t.retry, Text: cmp.Or(t.text, err.Error())}
		}
	}
	return NewFault(http.StatusOK, mcp.CodeInternalError, cmp.Or(reasons[session.StartReason(err)], reasons[""]))
}

// Refusal says how the client is told that a request could not be carried out. What the
// words hide is logged, unless the audit has it.
func (xs *Exchanges) Refusal(err error) *Fault {
	var f *Fault
	if errors.As(err, &f) {
		return f
	}
	if f = tell(err); f.Code == mcp.CodeInternalError && session.StartReason(err) == "" {
		xs.Log.Error("cannot serve a request", "error", err)
	}
	return f
}

// Message words an error for the client's user: what is wrong and who can mend it,
// without internals.
func Message(err error) string { return tell(err).Text }

// refusalText answers a tool call whose request to the forge was held back, in
// words for the model and its user.
func (xs *Exchanges) refusalText(refused unit.Refusal) string {
	switch refused.Reason {
	case control.ReasonReadOnly:
		return "This connection to Forgejo is read-only, so this was refused and nothing was changed. " +
			"To allow changes, disconnect this application at " + xs.PublicURL.String() + "/account and connect it again with read and write access."
	case control.ReasonDeniedRequest:
		return "This server refused a request to Forgejo in a form that connected applications do not need. Nothing was sent. " +
			"A name with unusual characters, such as a backslash or two dots, can be why; use Forgejo itself for that."
	case control.ReasonForgeUnreachable, control.ReasonInternal:
		return cmp.Or(reasons[refused.Reason], reasons[""])
	case control.ReasonPolicy:
		return "This was refused: " + refused.Text + ". The operator of this server decides what connected applications may do."
	case control.ReasonTokenLeaked:
		return "Forgejo's answer held the access token of this connection, so this server cut it off. Its operator finds this in the journal."
	}
	return "This server keeps connected applications away from parts of Forgejo that give lasting access, such as keys, tokens, webhooks and administration, " +
		"whatever access they have. This was refused and nothing was sent. Do it in Forgejo itself. What is connected is listed at " + xs.PublicURL.String() + "/account."
}
