package restore

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/archive"
	"github.com/fjmcp/fjmcp-broker/internal/operator/journal"
)

// Events are the audit's, from a journal or a file.
type Events interface {
	Events(context.Context, journal.Range) iter.Seq2[journal.Event, error]
	Doubts() []string
}

// Known is what is known of the time since a backup.
type Known struct {
	Steps []Step
	// Gap says what is not known; empty where all is.
	Gap string
	// Until is when the last event happened.
	Until time.Time
}

// slack is how much earlier than a backup is read: an event may be told of moments after
// it happened.
const slack = time.Second

// History reads what has ended since a backup was made. Use NewHistory.
type History struct {
	all Events
	m   archive.Manifest

	steps   []Step
	newest  map[string]Step // by grant: which refresh token was given out last, of thousands
	missing int64
	itself  bool           // the event of the backup was read
	last    *journal.Event // that was read
}

// NewHistory returns the history since a backup, of which nothing was read yet.
func NewHistory(all Events, m archive.Manifest) *History { return &History{all: all, m: m} }

// Read reads on, from where it ended before: what came meanwhile is little. All is known if
// the event of the backup itself is there, so that it is this broker's journal, and no
// number is missing among those of the events that follow the last one before it.
func (h *History) Read(ctx context.Context) (Known, error) {
	r := journal.Range{Since: h.m.Made.Add(-slack), Missing: func(n int64, _, _ time.Time) { h.missing += n }}
	if h.last != nil && h.last.Cursor != "" {
		r.After = h.last
	} else { // lines are read anew
		h.steps, h.newest, h.missing = nil, map[string]Step{}, 0
	}
	for e, err := range h.all.Events(ctx, r) {
		if err != nil {
			return Known{}, err
		}
		h.take(e)
	}
	k := Known{Steps: slices.AppendSeq(slices.Clone(h.steps), maps.Values(h.newest)), Gap: h.gap()}
	if h.last != nil {
		k.Until = h.last.Time
	}
	return k, nil
}

func (h *History) take(e journal.Event) {
	h.last = &e
	h.itself = h.itself || e.Kind == audit.BackupMade && strings.HasPrefix(e.Detail, h.m.ID+",") && e.Run == h.m.Invocation
	step, ok := stepOf(e)
	switch {
	case !ok, e.Run == h.m.Invocation && e.Run != "" && e.Number <= h.m.Event: // the backup has it
	case step.Generation > 0:
		h.newest[step.Grant] = step
	default:
		h.steps = append(h.steps, step)
	}
}

func (h *History) gap() string {
	switch doubts := h.all.Doubts(); {
	case !h.itself:
		return "it does not tell of this backup: it was vacuumed since, or is another machine's"
	case h.missing > 0:
		return fmt.Sprintf("%d events are missing in it", h.missing)
	default:
		return strings.Join(doubts, "; ")
	}
}

// stepOf is what an event has ended, if anything.
func stepOf(e journal.Event) (Step, bool) {
	s := Step{Kind: e.Kind, User: e.UserID, Client: e.ClientID, Grant: e.Grant, Session: e.Session, Generation: int(e.Generation), Operator: e.Operator}
	switch e.Kind {
	case audit.ClientRemoved, audit.Disconnected, audit.TokenReused, audit.GrantRevoked, audit.UserRevoked, audit.UserBlocked, audit.UserUnblocked, audit.SessionStopped:
		return s, true
	case audit.TokenRevoked:
		s.AccessOnly = e.Detail == "access_token" // store.KindAccess
		return s, true
	case audit.TokenIssued, audit.TokenRefreshed: // a login that only reads does so for good
		s.ReadOnly = e.ReadOnly != nil && *e.ReadOnly
		return s, e.Grant != "" && e.Generation > 0
	}
	return s, false
}
