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

// Since reads what has ended since a backup was made. All is known if the event of the
// backup itself is there, so that it is this broker's journal, and no number is missing
// among those of the events that follow the last one before it.
func Since(ctx context.Context, all Events, m archive.Manifest) (Known, error) {
	var k Known
	var missing int64
	itself, last := false, map[string]Step{}
	r := journal.Range{Since: m.Made.Add(-slack), Missing: func(n int64, _, _ time.Time) { missing += n }}
	for e, err := range all.Events(ctx, r) {
		if err != nil {
			return Known{}, err
		}
		k.Until = e.Time
		itself = itself || e.Kind == audit.BackupMade && strings.HasPrefix(e.Detail, m.ID+",") && e.Run == m.Invocation
		step, ok := stepOf(e)
		switch {
		case !ok, e.Run == m.Invocation && e.Run != "" && e.Number <= m.Event: // the backup has it
		case step.Generation > 0:
			last[step.Grant] = step // of thousands
		default:
			k.Steps = append(k.Steps, step)
		}
	}
	k.Steps = slices.AppendSeq(k.Steps, maps.Values(last))
	doubts := all.Doubts()
	switch {
	case !itself:
		k.Gap = "it does not tell of this backup: it was vacuumed since, or is another machine's"
	case missing > 0:
		k.Gap = fmt.Sprintf("%d events are missing in it", missing)
	case len(doubts) > 0:
		k.Gap = strings.Join(doubts, "; ")
	}
	return k, nil
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
