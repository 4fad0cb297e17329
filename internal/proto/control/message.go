// Package control speaks the protocol between the broker and fjmcp-session:
// one JSON object per packet over a SOCK_SEQPACKET socket pair that the broker
// makes for each session and fjmcp-session finds as its file descriptor 1.
//
// The broker sends modes and tokens, with its first message the backend's standard
// input; fjmcp-session reports what becomes of the child and of the forge.
package control

import (
	"encoding/json"
	"log/slog"
)

// Type says what a Message is.
type Type string

// Messages from the broker to fjmcp-session.
const (
	// TypeToken replaces the user's Forgejo access token. Field Token.
	TypeToken Type = "token"
	// TypeNoToken answers TypeUnauthorized when there is no other token: the
	// proxy passes the forge's 401 on. Field Reason, if the login may be good and only
	// could not be renewed: ReasonForgeUnreachable or ReasonInternal. Then the 401 is
	// not passed on.
	TypeNoToken Type = "no_token"
	// TypeMode sets what the proxy lets through. Fields Mode, ID, and Limits where there
	// is a policy. Until the first one comes it is read-only. Answered with TypeAck once
	// in force, with field Key for the limits. With the very first one, which is there
	// before fjmcp-session is, comes the pipe that is to be the child's standard input,
	// and field Output.
	TypeMode Type = "mode"
)

// TypeAck answers, in either direction, a message that has an ID. Field ID, and Key in an
// answer to TypeMode.
const TypeAck Type = "ack"

// Mode is what a session may do at the forge.
type Mode string

// Modes. Anything but ModeReadWrite is read-only.
const (
	ModeReadOnly  Mode = "read_only"  // GET and HEAD
	ModeReadWrite Mode = "read_write" // all methods
	// ModeProbe is for a session without a user, which shows whether the backend can be
	// started: the proxy answers GET /api/v1/version itself and sends nothing to the forge.
	ModeProbe Mode = "probe"
)

// Messages from fjmcp-session to the broker.
const (
	// TypeReady says the child has been started. Sent once.
	TypeReady Type = "ready"
	// TypeUnauthorized says that the forge answered 401 to the token in use.
	// The proxy holds the request until a TypeToken comes or its patience ends.
	TypeUnauthorized Type = "unauthorized"
	// TypeForbidden says that the forge answered 403, which may be because the
	// user may not sign in any more. Field ID. The proxy waits a moment for TypeAck,
	// which says that the broker knows. At most one in ten seconds.
	TypeForbidden Type = "forbidden"
	// TypeRefused says that the proxy did not send a request of the child to the
	// forge, or cut off the answer. Fields Reason (see below) and ID, which
	// stands in the answer the child is about to get; for ReasonPolicy also Rule, if one
	// denies it, and Detail, which is for the user. The proxy waits a moment
	// for TypeAck before it answers, so that the broker knows first.
	TypeRefused Type = "refused"
	// TypeTouched says that the proxy sends a request of the child about a repository to
	// the forge. Field Repo; without it: about others of which no word came through. It is
	// not sent where the broker does not read for a while.
	TypeTouched Type = "touched"
	// TypeFailed says why the session ends, before or after TypeReady. Fields
	// Reason, Detail and LastLines. It is the last message.
	TypeFailed Type = "failed"
	// TypeEnding says that fjmcp-session was told to end, and asks the broker to close its
	// end of the child's standard input: upon that a child ends as upon its client's wish.
	TypeEnding Type = "ending"
	// TypeExited says that the child ended with status 0 (it saw EOF), or that
	// fjmcp-session was told to end with SIGTERM (by the reap timer, say).
	// It is the last message.
	TypeExited Type = "exited"
)

// Bounds of what a session and its child write to the session's log, in bytes. A line
// counts 128 besides its own.
const (
	MostOutput      = 32 << 10 // at once, also after a long silence
	OutputPerSecond = 1 << 10
)

// Reason classifies a TypeFailed or TypeRefused message.
type Reason string

// Reasons why a request is not sent to the forge.
const (
	// ReasonReadOnly: the session is read-only, and the method may write.
	ReasonReadOnly Reason = "read_only"
	// ReasonDeniedPath: the route is closed to all sessions (package forgeapi).
	ReasonDeniedPath Reason = "denied_path"
	// ReasonDeniedRequest: it has a header, parameter, body or path that no client of the
	// API needs.
	ReasonDeniedRequest Reason = "denied_request"
	// ReasonPolicy: the operator's policy does not allow it (package policy).
	ReasonPolicy Reason = "policy"
	// ReasonTokenLeaked: it was sent, and the answer, which held the token, was cut off.
	ReasonTokenLeaked Reason = "token_leaked"
	// ReasonForgeUnreachable and ReasonInternal, see below: the token has run out, and
	// another could not be had.
)

// Reasons why a session cannot start or ends.
const (
	// ReasonBackendMissing: the configured forgejo-mcp binary does not exist.
	ReasonBackendMissing Reason = "backend_missing"
	// ReasonBackendNotExecutable: it exists and cannot be executed.
	ReasonBackendNotExecutable Reason = "backend_not_executable"
	// ReasonBackendTooOld: its version is below the oldest supported.
	ReasonBackendTooOld Reason = "backend_too_old"
	// ReasonForgeUnreachable: the child ended after the proxy could not reach the forge.
	ReasonForgeUnreachable Reason = "forge_unreachable"
	// ReasonTokenRefused: the child ended after the forge answered 401 or 403.
	ReasonTokenRefused Reason = "token_refused"
	// ReasonCrashed: the child ended for a reason of its own.
	ReasonCrashed Reason = "crashed"
	// ReasonInternal: fjmcp-session itself could not do its work (no credential,
	// no sandbox).
	ReasonInternal Reason = "internal"
)

// Message is one packet. Its token is never logged: String shows the type only.
type Message struct {
	Type  Type   `json:"type"`
	Token string `json:"token,omitempty"`
	ID    string `json:"id,omitempty"`
	Mode  Mode   `json:"mode,omitempty"`
	// Output is how many bytes the session may write to its log at once, at most
	// MostOutput, besides OutputPerSecond.
	Output int `json:"output,omitempty"`

	// Limits are those of package policy, none for no policy. What cannot be read of them
	// allows nothing.
	Limits json.RawMessage `json:"limits,omitempty"`
	// Key is policy.Limits.Key of what is in force. An fjmcp-session from before there were
	// policies has none.
	Key string `json:"key,omitempty"`

	Repo string `json:"repo,omitempty"` // owner/name

	Rule string `json:"rule,omitempty"` // name of a rule of the policy

	Reason    Reason   `json:"reason,omitempty"`
	Detail    string   `json:"detail,omitempty"`     // one line for the operator, free of secrets
	LastLines []string `json:"last_lines,omitempty"` // end of the child's stderr, at most 10 lines of 200 bytes
}

// String names the message without its contents.
func (m Message) String() string { return "control message " + string(m.Type) }

// GoString is String, for %#v.
func (m Message) GoString() string { return m.String() }

// LogValue is String, for every slog handler.
func (m Message) LogValue() slog.Value { return slog.StringValue(m.String()) }
