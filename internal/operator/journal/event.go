package journal

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
)

// Event is one event of the audit; docs/audit.md tells what each field is. What has no
// value is empty, and left out of JSON.
type Event struct {
	Time          time.Time  `json:"time"` // when it happened, not when it was written
	Kind          audit.Kind `json:"event"`
	User          string     `json:"user,omitempty"`
	UserID        string     `json:"user_id,omitempty"`
	Client        string     `json:"client,omitempty"`
	ClientID      string     `json:"client_id,omitempty"`
	Grant         string     `json:"grant,omitempty"`
	Generation    int64      `json:"generation,omitempty"` // of the login's refresh token
	ReadOnly      *bool      `json:"read_only,omitempty"`
	Address       string     `json:"address,omitempty"`
	Session       string     `json:"session,omitempty"`
	Unit          string     `json:"unit,omitempty"`
	Tool          string     `json:"tool,omitempty"`
	Prompt        string     `json:"prompt,omitempty"`
	Resource      string     `json:"resource,omitempty"`
	Repo          string     `json:"repo,omitempty"`
	Issue         string     `json:"issue,omitempty"`
	ReposSeen     []string   `json:"repos_seen,omitempty"`
	ReposPossible []string   `json:"repos_possible,omitempty"`
	Outcome       string     `json:"outcome,omitempty"`
	Failed        bool       `json:"failed,omitempty"` // its priority is warning, or above
	Detail        string     `json:"detail,omitempty"`
	DurationUsec  int64      `json:"duration_usec,omitempty"`
	ArgumentBytes int64      `json:"arguments_bytes,omitempty"`
	ResultBytes   int64      `json:"result_bytes,omitempty"`
	Trace         string     `json:"traceparent,omitempty"`
	Rule          string     `json:"rule,omitempty"` // of the policy
	Operator      string     `json:"operator,omitempty"`
	Number        int64      `json:"number,omitempty"` // in its run, from 1 on; 0 from a broker before 0.3.0
	Run           string     `json:"run,omitempty"`    // of the broker: its invocation ID

	Cursor string `json:"-"` // its place in the journal
}

// Of entries that are not the broker's, and of those that say they are events but are not
// as the broker writes them.
var (
	errNoEvent = errors.New("no event")
	errRefused = errors.New("not to be believed")
)

// fields are what is read of an entry, besides what journalctl tells of each.
var fields = []string{
	"PRIORITY", "_SYSTEMD_UNIT", "_TRANSPORT", "_MACHINE_ID", "_UID", "_SYSTEMD_INVOCATION_ID",
	"FJMCP_TIME", "FJMCP_EVENT", "FJMCP_NUMBER", "FJMCP_USER", "FJMCP_USER_ID", "FJMCP_CLIENT", "FJMCP_CLIENT_ID",
	"FJMCP_GRANT", "FJMCP_GENERATION", "FJMCP_READ_ONLY", "FJMCP_ADDRESS", "FJMCP_SESSION", "FJMCP_UNIT", "FJMCP_TOOL", "FJMCP_PROMPT", "FJMCP_RESOURCE",
	"FJMCP_REPO", "FJMCP_ISSUE", "FJMCP_REPOS_SEEN", "FJMCP_REPOS_POSSIBLE", "FJMCP_ARGUMENTS_BYTES",
	"FJMCP_RESULT_BYTES", "FJMCP_DURATION_USEC", "FJMCP_TRACEPARENT", "FJMCP_RULE", "FJMCP_OUTCOME", "FJMCP_DETAIL", "FJMCP_OPERATOR",
}

// parse reads an entry. The broker writes no field twice and no value that is not clean.
func (j *Journal) parse(entry map[string]string) (Event, error) {
	if entry["FJMCP_EVENT"] == "" {
		return Event{}, errNoEvent
	}
	for name, want := range j.trusted {
		if entry[name] != want {
			return Event{}, errNoEvent
		}
	}
	if !j.believed(entry["_UID"]) {
		return Event{}, errRefused
	}
	e := Event{Time: written(entry), Cursor: entry["__CURSOR"]} // the time, unless it says another
	for _, name := range fields {
		if value, there := entry[name]; there && e.set(name, value) != nil {
			return Event{}, errRefused
		}
	}
	return e, nil
}

// set gives the event the value of a field.
func (e *Event) set(name, value string) (err error) {
	if value != audit.Clean(value) {
		return errRefused
	}
	switch name {
	case "PRIORITY":
		e.Failed = value != "" && value <= "4" // syslog(3)
	case "FJMCP_TIME":
		e.Time, err = time.Parse(time.RFC3339Nano, value)
	case "FJMCP_EVENT":
		e.Kind = audit.Kind(value)
	case "FJMCP_NUMBER":
		e.Number, err = strconv.ParseInt(value, 10, 64)
	case "FJMCP_GENERATION":
		e.Generation, err = strconv.ParseInt(value, 10, 64)
	case "FJMCP_READ_ONLY":
		yes := value == audit.YesNo(true)
		e.ReadOnly = &yes
	case "FJMCP_REPOS_SEEN":
		e.ReposSeen = strings.Fields(value)
	case "FJMCP_REPOS_POSSIBLE":
		e.ReposPossible = strings.Fields(value)
	case "FJMCP_ARGUMENTS_BYTES":
		e.ArgumentBytes, err = strconv.ParseInt(value, 10, 64)
	case "FJMCP_RESULT_BYTES":
		e.ResultBytes, err = strconv.ParseInt(value, 10, 64)
	case "FJMCP_DURATION_USEC":
		e.DurationUsec, err = strconv.ParseInt(value, 10, 64)
	default:
		if text := e.text(name); text != nil {
			*text = value
		}
	}
	return err
}

// text is where the value of a field of plain text goes, if it is one.
func (e *Event) text(name string) *string {
	switch name {
	case "FJMCP_USER":
		return &e.User
	case "FJMCP_USER_ID":
		return &e.UserID
	case "FJMCP_CLIENT":
		return &e.Client
	case "FJMCP_CLIENT_ID":
		return &e.ClientID
	case "FJMCP_GRANT":
		return &e.Grant
	case "FJMCP_ADDRESS":
		return &e.Address
	case "FJMCP_SESSION":
		return &e.Session
	case "FJMCP_UNIT":
		return &e.Unit
	case "FJMCP_TOOL":
		return &e.Tool
	case "FJMCP_PROMPT":
		return &e.Prompt
	case "FJMCP_RESOURCE":
		return &e.Resource
	case "FJMCP_REPO":
		return &e.Repo
	case "FJMCP_ISSUE":
		return &e.Issue
	case "FJMCP_TRACEPARENT":
		return &e.Trace
	case "FJMCP_RULE":
		return &e.Rule
	case "FJMCP_OUTCOME":
		return &e.Outcome
	case "FJMCP_DETAIL":
		return &e.Detail
	case "FJMCP_OPERATOR":
		return &e.Operator
	case "_SYSTEMD_INVOCATION_ID":
		return &e.Run
	}
	return nil
}

// more ends a list of repositories that is not whole.
const more = "+"

// MoreRepos reports whether a call touched, or may have touched, repositories that the
// event has no room for.
func (e *Event) MoreRepos() bool {
	return slices.Contains(e.ReposSeen, more) || slices.Contains(e.ReposPossible, more)
}
