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
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/coreos/go-systemd/v22/journal"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/logging"
)

// Event is one entry. Empty fields are left out.
type Event struct {
	Kind     Kind
	User     string // login name at the forge, of today
	UserID   string // the forge's id of the user, which stays
	Client   string // what the client calls itself
	ClientID string // model.ShortID of its id
	Grant    string // id of the login that the connection is by
	// Generation is which of the login's refresh tokens was given out, from 1 on.
	Generation string
	Session    string // the session's id in the journal
	Unit       string // systemd unit of the session
	Tool       string // MCP tool name
	Outcome    string // "ok", "error" or a reason code
	Detail     string // for the operator; never a secret
	ReadOnly   string // YesNo of whether the connection only reads; empty where there is none
	Address    string // as the limits count it; that of the context, see From, where empty
	Failed     bool   // raises the priority from info to warning

	Unwritten bool // set by Tell alone

	// of calls
	Prompt         string // MCP prompt name
	Resource       string // kind of MCP resource
	Repo           string // owner/name that the arguments name
	ReposSeen      string // those that the proxy saw the call touch, separated by spaces
	ReposPossible  string // those that it saw this call or one beside it touch
	Issue          string // number of the issue or pull request that the arguments name
	ArgumentsBytes string
	ResultBytes    string
	DurationUsec   string // from the request to its end
	Trace          string // W3C traceparent
	Rule           string // of the operator's policy, that refused it

	operator string // from the context, see By
	number   string // in the order of what happened
}

// YesNo is a flag as it stands in events.
func YesNo(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

// Count is a number as it stands in events, where 0 is left out.
func Count(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

type (
	operatorKey struct{}
	addressKey  struct{}
)

// From returns a context whose events name the address that the request came from.
func From(ctx context.Context, address string) context.Context {
	return context.WithValue(ctx, addressKey{}, address)
}

// Address is the address of a context that From made, else "".
func Address(ctx context.Context) string {
	address, _ := ctx.Value(addressKey{}).(string)
	return address
}

// By returns a context whose events name the operator who caused them.
func By(ctx context.Context, operator string) context.Context {
	return context.WithValue(ctx, operatorKey{}, operator)
}

// Operator is who caused it, of a context that By made, else "".
func Operator(ctx context.Context) string {
	operator, _ := ctx.Value(operatorKey{}).(string)
	return operator
}

// maxField bounds a field's length in bytes; clients choose some of the values.
const maxField = 256

// Logger writes events. Use New.
type Logger struct {
	journal  bool
	now      func() time.Time
	required bool
	observe  func(Event) // may be nil

	mu     sync.Mutex
	number int64        // of the latest event
	total  Backlog      // Lost and Refused alone, of interruptions that are over
	text   slog.Handler // writes to line
	line   bytes.Buffer
	out    outbox
}

// New returns a Logger that writes to the journal, with fields of their own, where w is a
// *logging.Stderr that leads there, else as text lines to w. Events that cannot be written
// wait in memory, maxWaiting bytes of them, and are written in order when that is possible
// again.
func New(w io.Writer) *Logger {
	if s, ok := w.(*logging.Stderr); ok && s.Journal() {
		if write := toJournal(); write != nil {
			return newLogger(true, write)
		}
	}
	return newLogger(false, func(text []byte) error { _, err := w.Write(text); return err })
}

func newLogger(journal bool, write func([]byte) error) *Logger {
	l := &Logger{journal: journal, now: time.Now, out: outbox{write: write}}
	l.text = slog.NewTextHandler(&l.line, nil)
	return l
}

// Observe has f told of each event as it happens, written or not. It must neither wait nor
// call the Logger. Call Observe before use.
func (l *Logger) Observe(f func(Event)) { l.observe = f }

// Event writes e, or keeps it for later. It does not wait for the journal.
func (l *Logger) Event(ctx context.Context, e Event) {
	e.operator = Operator(ctx)
	e.Address = cmp.Or(e.Address, Address(ctx))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.eventLocked(e)
}

// Tell has e observed and not written: one of many that would fill the journal, and of which
// a written event tells.
func (l *Logger) Tell(e Event) {
	e.Unwritten = true
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.observe != nil {
		l.observe(e)
	}
}

// Number is that of the latest event, 0 before the first.
func (l *Logger) Number() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.number
}

func (l *Logger) eventLocked(e Event) {
	if l.observe != nil {
		l.observe(e)
	}
	l.number++
	e.number = strconv.FormatInt(l.number, 10)
	at := l.now()
	l.putLocked(entry{l.encodeLocked(e, at), at, l.number})
}

// encodeLocked is e as it is written: in the words of journald's own protocol, in which a
// value has no line break, or as a line.
func (l *Logger) encodeLocked(e Event, at time.Time) []byte {
	priority, level := journal.PriInfo, slog.LevelInfo
	switch {
	case e.Kind == TokenLeaked:
		priority, level = journal.PriCrit, slog.LevelError
	case e.Failed:
		priority, level = journal.PriWarning, slog.LevelWarn
	}
	fields := e.fields()
	l.line.Reset()
	if !l.journal {
		r := slog.NewRecord(at, level, "audit", 0) // and no search for who called
		r.AddAttrs(fields...)
		_ = l.text.Handle(context.Background(), r) // a buffer takes all
		return bytes.Clone(l.line.Bytes())
	}
	fmt.Fprintf(&l.line, "PRIORITY=%d\nSYSLOG_IDENTIFIER=fjmcp-broker\nMESSAGE_ID=%s\nFJMCP_TIME=%s\n", priority, messageIDs[e.Kind], stamp(at))
	for _, f := range fields {
		fmt.Fprintf(&l.line, "%s=%s\n", f.Key, f.Value)
	}
	fmt.Fprintf(&l.line, "MESSAGE=%s\n", message(fields))
	return bytes.Clone(l.line.Bytes())
}

// stamp is when an event happened.
func stamp(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000000Z") }

// fields are the values of e under their names in the journal, fit for a log, in
// the order they are written.
func (e Event) fields() []slog.Attr {
	all := []slog.Attr{
		slog.String("FJMCP_EVENT", string(e.Kind)), slog.String("FJMCP_USER", e.User), slog.String("FJMCP_CLIENT", e.Client),
		slog.String("FJMCP_SESSION", e.Session), slog.String("FJMCP_UNIT", e.Unit), slog.String("FJMCP_TOOL", e.Tool),
		slog.String("FJMCP_OUTCOME", e.Outcome), slog.String("FJMCP_DETAIL", e.Detail), slog.String("FJMCP_OPERATOR", e.operator),
		slog.String("FJMCP_USER_ID", e.UserID), slog.String("FJMCP_CLIENT_ID", e.ClientID),
		slog.String("FJMCP_GRANT", e.Grant), slog.String("FJMCP_GENERATION", e.Generation),
		slog.String("FJMCP_READ_ONLY", e.ReadOnly), slog.String("FJMCP_ADDRESS", e.Address), slog.String("FJMCP_NUMBER", e.number),
		slog.String("FJMCP_PROMPT", e.Prompt), slog.String("FJMCP_RESOURCE", e.Resource),
		slog.String("FJMCP_REPO", e.Repo), slog.String("FJMCP_ISSUE", e.Issue), slog.String("FJMCP_REPOS_SEEN", e.ReposSeen),
		slog.String("FJMCP_REPOS_POSSIBLE", e.ReposPossible), slog.String("FJMCP_ARGUMENTS_BYTES", e.ArgumentsBytes),
		slog.String("FJMCP_RESULT_BYTES", e.ResultBytes), slog.String("FJMCP_DURATION_USEC", e.DurationUsec),
		slog.String("FJMCP_TRACEPARENT", e.Trace), slog.String("FJMCP_RULE", e.Rule),
	}
	fields := all[:0]
	for _, f := range all {
		if v := Clean(f.Value.String()); v != "" {
			fields = append(fields, slog.String(f.Key, v))
		}
	}
	return fields
}

// message is an event as one line for people, without what only tells two of a name
// apart, and without figures.
func message(fields []slog.Attr) string {
	var b strings.Builder
	for _, f := range fields {
		switch f.Key {
		case "FJMCP_EVENT":
			b.WriteString(strings.ReplaceAll(f.Value.String(), "_", " "))
		case "FJMCP_UNIT", "FJMCP_USER_ID", "FJMCP_CLIENT_ID", "FJMCP_GRANT", "FJMCP_GENERATION", "FJMCP_NUMBER", "FJMCP_REPOS_SEEN", "FJMCP_REPOS_POSSIBLE",
			"FJMCP_ARGUMENTS_BYTES", "FJMCP_RESULT_BYTES", "FJMCP_DURATION_USEC", "FJMCP_TRACEPARENT":
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
