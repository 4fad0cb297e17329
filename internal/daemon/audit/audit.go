// Package audit writes security events: who logged in, which client got a
// token, which session started and ended, which tool was called.
//
// Under systemd each event is a journal entry with fields of its own, so that
// `journalctl _SYSTEMD_UNIT=fjmcp-broker.service FJMCP_EVENT=tool_call FJMCP_USER=alice`
// answers the operator's question; elsewhere it is a line on standard error. Any local
// program may write such fields, but for those that begin with an underscore: they are
// journald's, and say where an entry came from.
package audit

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/coreos/go-systemd/v22/journal"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/logging"
)

// Kind names an event; it is the value of FJMCP_EVENT.
type Kind string

// Events.
const (
	ClientRegistered Kind = "client_registered"
	ClientRemoved    Kind = "client_removed"
	LoginSucceeded   Kind = "login"
	AccountLogin     Kind = "account_login"
	LoginDenied      Kind = "login_denied"
	LoginFailed      Kind = "login_failed"
	Disconnected     Kind = "client_disconnected"
	TokenIssued      Kind = "token_issued"
	TokenRefreshed   Kind = "token_refreshed"
	TokenReused      Kind = "token_reused"
	TokenRevoked     Kind = "token_revoked"
	TokenLeaked      Kind = "token_leaked" // priority critical
	ForgejoRefresh   Kind = "forgejo_refresh_failed"
	SessionStarted   Kind = "session_started"
	SessionFailed    Kind = "session_failed"
	SessionStopped   Kind = "session_stopped"
	SessionReaped    Kind = "session_reaped"
	ToolCall         Kind = "tool_call"
	RateLimited      Kind = "rate_limited"
	KeyRotated       Kind = "key_rotated"
	Drained          Kind = "drained"
	Undrained        Kind = "undrained"
)

// Event is one entry. Empty fields are left out.
type Event struct {
	Kind    Kind
	User    string // forge login name
	Client  string // client name or id
	Session string // the session's id in the journal
	Unit    string // systemd unit of the session
	Tool    string // MCP tool name
	Outcome string // "ok", "error" or a reason code
	Detail  string // for the operator; never a secret
	Failed  bool   // raises the priority from info to warning

	operator string // from the context, see By
}

type operatorKey struct{}

// By returns a context whose events name the operator who caused them.
func By(ctx context.Context, operator string) context.Context {
	return context.WithValue(ctx, operatorKey{}, operator)
}

// maxField bounds a field's length in bytes; clients choose some of the values.
const maxField = 256

// Logger writes events. Use New.
type Logger struct {
	send func(message string, pri journal.Priority, fields map[string]string) error
	text slog.Handler
}

// New returns a Logger that writes to the journal, with fields of their own, when w is
// connected to it, else as text lines to w.
func New(w io.Writer) *Logger {
	l := &Logger{text: slog.NewTextHandler(w, nil)}
	if logging.ToJournal(w) && journal.Enabled() {
		l.send = journal.Send
	}
	return l
}

// Event writes e. An event that the journal does not take goes to standard
// error instead: an audit trail with holes is worse than an ugly one.
func (l *Logger) Event(ctx context.Context, e Event) {
	e.operator, _ = ctx.Value(operatorKey{}).(string)
	priority, level := journal.PriInfo, slog.LevelInfo
	switch {
	case e.Kind == TokenLeaked:
		priority, level = journal.PriCrit, slog.LevelError
	case e.Failed:
		priority, level = journal.PriWarning, slog.LevelWarn
	}
	fields := e.fields()
	if l.send != nil {
		variables := make(map[string]string, len(fields))
		for _, f := range fields {
			variables[f.Key] = f.Value.String()
		}
		if l.send(message(fields), priority, variables) == nil {
			return
		}
	}
	r := slog.NewRecord(time.Now(), level, "audit", 0) // and no search for who called
	r.AddAttrs(fields...)
	_ = l.text.Handle(ctx, r)
}

// fields are the values of e under their names in the journal, fit for a log, in
// the order they are written.
func (e Event) fields() []slog.Attr {
	all := []slog.Attr{
		slog.String("FJMCP_EVENT", string(e.Kind)), slog.String("FJMCP_USER", e.User), slog.String("FJMCP_CLIENT", e.Client),
		slog.String("FJMCP_SESSION", e.Session), slog.String("FJMCP_UNIT", e.Unit), slog.String("FJMCP_TOOL", e.Tool),
		slog.String("FJMCP_OUTCOME", e.Outcome), slog.String("FJMCP_DETAIL", e.Detail), slog.String("FJMCP_OPERATOR", e.operator),
	}
	fields := all[:0]
	for _, f := range all {
		if v := Clean(f.Value.String()); v != "" {
			fields = append(fields, slog.String(f.Key, v))
		}
	}
	return fields
}

// message is an event as one line for people. The unit stands in the journal's own
// fields.
func message(fields []slog.Attr) string {
	var b strings.Builder
	for _, f := range fields {
		switch f.Key {
		case "FJMCP_EVENT":
			b.WriteString(strings.ReplaceAll(f.Value.String(), "_", " "))
		case "FJMCP_UNIT":
		default:
			fmt.Fprintf(&b, " %s=%q", strings.ToLower(strings.TrimPrefix(f.Key, "FJMCP_")), f.Value.String())
		}
	}
	return b.String()
}

// Clean makes a value fit for a log field: valid UTF-8, printable, one line,
// at most 256 bytes.
func Clean(v string) string {
	if len(v) <= maxField && !strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' }) {
		return v
	}
	v = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, v)
	if len(v) <= maxField {
		return v
	}
	v = v[:maxField]
	for !utf8.ValidString(v) {
		v = v[:len(v)-1]
	}
	return v
}
