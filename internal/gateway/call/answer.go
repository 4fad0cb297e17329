package call

import (
	"encoding/json"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
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
}

// NewFault returns a Fault that has no more than these.
func NewFault(status, code int, text string) *Fault {
	return &Fault{Status: status, Code: code, Text: text}
}

func (f *Fault) Error() string { return f.Text }

// Message is the JSON-RPC error for the request of that id; a nil id becomes null.
func (f *Fault) Message(id json.RawMessage) []byte {
	return mcp.ErrorResponseWith(id, f.Code, f.Text, f.Data)
}
