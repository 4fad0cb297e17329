// Package proto/launcher holds the words spoken on the launcher's socket: one JSON
// Request per SOCK_SEQPACKET packet, descriptors beside it by SCM_RIGHTS, one
// JSON Reply. It also holds the grammar of ids, which both sides check.
//
// A request carries ids, choices and descriptors; never a property, a path or a
// command.
package launcher

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Op names what the launcher is asked to do.
type Op string

// Operations.
const (
	// OpStart starts fjmcp-session@<ID>.service and its reap timer. Descriptors:
	// the session's ends of the MCP and of the control socket, in this order.
	OpStart Op = "start"
	// OpTouch re-arms the reap timer of a running session.
	OpTouch Op = "touch"
	// OpStop stops a session's unit and timer; absent units are no error.
	OpStop Op = "stop"
	// OpList names the ids of all session units that have not ended.
	OpList Op = "list"
	// OpPing checks that the service manager answers, and tells the Limits and Made.
	OpPing Op = "ping"
)

// Request is one packet to the launcher.
type Request struct {
	Op Op `json:"op"`
	// ID is the unit id.
	ID string `json:"id,omitempty"`
	// Session is the id the journal shows (not the Mcp-Session-Id), OpStart only.
	Session string `json:"session,omitempty"`
	// Account is whose the session is, an id that stands nowhere in the unit: it bounds
	// how often one user's sessions are started. OpStart only.
	Account string `json:"account,omitempty"`
	// IdleSeconds arms the reap timer, 1 to 604800; OpStart only (OpTouch
	// restarts the timer with the value it was made with).
	IdleSeconds int64 `json:"idle_seconds,omitempty"`
	// MaxSeconds becomes RuntimeMaxSec=, 1 to 31536000; OpStart only.
	MaxSeconds int64 `json:"max_seconds,omitempty"`
}

// Code classifies a failed Reply.
type Code string

// Codes of failed replies.
const (
	CodeBadRequest Code = "bad_request" // the request breaks the grammar
	CodeGone       Code = "gone"        // the session is not running (OpTouch)
	CodeExists     Code = "exists"      // a unit of that id is loaded already
	CodeFailed     Code = "failed"      // systemd refused or the start job failed
	CodeConfig     Code = "config"      // the operator's configuration is at fault
)

// MaxReply bounds a Reply in bytes: a list of some 7,000 sessions.
const MaxReply = 200 << 10

// Reply answers one Request.
type Reply struct {
	OK      bool     `json:"ok"`
	Code    Code     `json:"code,omitempty"`
	Message string   `json:"message,omitempty"` // for the operator's journal
	IDs     []string `json:"ids,omitempty"`     // OpList
	Limits  *Limits  `json:"limits,omitempty"`  // OpPing
	// Made tells one state of what sessions are made of, forgejo-mcp and the sandbox, from
	// another. OpPing.
	Made string `json:"made,omitempty"`
}

// Limits are what bounds the number of sessions that can live at once.
type Limits struct {
	// Files is the launcher's RLIMIT_NOFILE. The kernel counts descriptors that are on
	// their way between processes for each user (unix(7), ETOOMANYREFS), and PID 1
	// keeps some of each unit on their way for as long as it lives. As uid 0 without
	// capabilities the launcher can send none once they are more than this.
	Files uint64 `json:"files"`
	// Tasks is TasksMax= of the sessions' slice; math.MaxUint64 for no limit.
	Tasks uint64 `json:"tasks"`
}

// Bounds of FJMCP_BROKER_START_TIMEOUT, which broker and launcher have in common.
const (
	LeastStartTimeout = 10 * time.Second
	MostStartTimeout  = 5 * time.Minute
)

// MostSessions is how many units one broker can be given back at its start: each has
// three descriptors in systemd's store, whose names, of 18 bytes with the colon, come as
// one string of the environment (execve(2): at most 128 KiB).
const MostSessions = 2000

// ForgeConnections are what one session has to the forge at once, at most. forgejo-mcp
// carries out five calls at a time, each with one request after the other.
const ForgeConnections = 8

// What a session takes of the Limits. On their way are three descriptors: of the
// network, the IPC namespace and the dynamic user. Threads are 12.2 on average on two
// processors, seen with 1,000 sessions.
const (
	filesPerSession = 3
	filesBeside     = 1024 // of other services of uid 0, and the launcher's own
	tasksPerSession = 16
)

// FilesFor returns what Files must be for that many sessions.
func FilesFor(sessions int) uint64 { return uint64(sessions)*filesPerSession + filesBeside }

// TasksFor returns what Tasks must be for that many sessions.
func TasksFor(sessions int) uint64 { return uint64(sessions) * tasksPerSession }

var idPattern = regexp.MustCompile(`^[a-z0-9]{8,26}$`)

// CheckID reports whether id may name a session unit: 8 to 26 of [a-z0-9]. The
// upper bound keeps the name systemd binds for the credential connection
// within sun_path (108 bytes).
func CheckID(id string) error {
	if !idPattern.MatchString(id) {
		return fmt.Errorf("bad session id %q: want 8 to 26 of [a-z0-9]", id)
	}
	return nil
}

// Check reports the first fault of the request.
func (r Request) Check() error {
	switch r.Op {
	case OpPing, OpList:
		return nil
	case OpTouch, OpStop:
		return CheckID(r.ID)
	case OpStart:
		return r.checkStart()
	}
	return fmt.Errorf("unknown operation %q", r.Op)
}

func (r Request) checkStart() error {
	for _, id := range []string{r.ID, r.Session, r.Account} {
		if err := CheckID(id); err != nil {
			return err
		}
	}
	if r.IdleSeconds < 1 || r.IdleSeconds > int64((7*24*time.Hour).Seconds()) {
		return fmt.Errorf("idle_seconds %d is not within 1 to 604800", r.IdleSeconds)
	}
	if r.MaxSeconds < 1 || r.MaxSeconds > int64((365*24*time.Hour).Seconds()) {
		return fmt.Errorf("max_seconds %d is not within 1 to 31536000", r.MaxSeconds)
	}
	return nil
}

const (
	unitPrefix = "fjmcp-session@"
	unitSuffix = ".service"
)

// CredentialName is what the credential is called that holds a unit's first token, in
// the unit's properties and as a file below $CREDENTIALS_DIRECTORY.
const CredentialName = "forgejo-token"

// UnitName is what systemd calls the unit of that id.
func UnitName(id string) string { return unitPrefix + id + unitSuffix }

// UnitID is the id of the unit of that name; ok is false for what is not a session's unit.
func UnitID(name string) (id string, ok bool) {
	id = strings.TrimSuffix(strings.TrimPrefix(name, unitPrefix), unitSuffix)
	return id, UnitName(id) == name && CheckID(id) == nil
}
