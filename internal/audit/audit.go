package audit

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/coreos/go-systemd/v22/journal"
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
	text *slog.Logger
}

// New returns a Logger that writes to the journal when standard error is
// connected to it (systemd.exec(5), $JOURNAL_STREAM), else as text lines to w.
func New(w io.Writer) *Logger {
	l := &Logger{text: slog.New(slog.NewTextHandler(w, nil))}
	if os.Getenv("JOURNAL_STREAM") != "" && journal.Enabled() {
		l.send = journal.Send
	}
	return l
}

// Event writes e. An event that the journal does not take goes to standard
// error instead: an audit trail with holes is worse than an ugly one.
func (l *Logger) Event(ctx context.Context, e Event) {
	e.operator, _ = ctx.Value(operatorKey{}).(string)
	fields := e.fields()
	if l.send != nil {
		if err := l.send(e.message(), e.priority(), fields); err == nil {
			return
		}
	}
	attrs := make([]slog.Attr, 0, len(fields))
	for _, name := range fieldOrder {
		if v, ok := fields[name]; ok {
			attrs = append(attrs, slog.String(name, v))
		}
	}
	level := slog.LevelInfo
	if e.Failed {
		level = slog.LevelWarn
	}
	l.text.LogAttrs(ctx, level, "audit", attrs...)
}

var fieldOrder = []string{"FJMCP_EVENT", "FJMCP_USER", "FJMCP_CLIENT", "FJMCP_SESSION", "FJMCP_UNIT", "FJMCP_TOOL", "FJMCP_OUTCOME", "FJMCP_DETAIL", "FJMCP_OPERATOR"}

func (e Event) fields() map[string]string {
	values := []string{string(e.Kind), e.User, e.Client, e.Session, e.Unit, e.Tool, e.Outcome, e.Detail, e.operator}
	fields := make(map[string]string, len(values))
	for i, v := range values {
		if v = Clean(v); v != "" {
			fields[fieldOrder[i]] = v
		}
	}
	return fields
}

func (e Event) message() string {
	var b strings.Builder
	b.WriteString(strings.ReplaceAll(string(e.Kind), "_", " "))
	for _, p := range []struct{ name, value string }{
		{"tool", e.Tool}, {"user", e.User}, {"client", e.Client}, {"session", e.Session}, {"outcome", e.Outcome}, {"detail", e.Detail}, {"operator", e.operator},
	} {
		if p.value != "" {
			fmt.Fprintf(&b, " %s=%q", p.name, Clean(p.value))
		}
	}
	return b.String()
}

func (e Event) priority() journal.Priority {
	if e.Failed {
		return journal.PriWarning
	}
	return journal.PriInfo
}

// Clean makes a value fit for a log field: valid UTF-8, printable, one line,
// at most 256 bytes.
func Clean(v string) string {
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
