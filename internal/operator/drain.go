package operator

import (
	"context"
	"slices"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
)

// drainLook is how often Drain looks whether calls are in flight.
const drainLook = 50 * time.Millisecond

// Drain implements admin.Sessions. It lasts until Undrain or the broker's end.
func (o *Operator) Drain(ctx context.Context) (admin.Drain, error) {
	if o.cfg.Sessions.ShutDoor() {
		o.cfg.Audit.Event(ctx, audit.Event{Kind: audit.Drained, Outcome: "ok"})
	}
	tick := time.NewTicker(drainLook)
	defer tick.Stop()
	for {
		since, entering := o.cfg.Sessions.Door() // before the look at calls, see there
		d := admin.Drain{Since: since, Calls: o.calls()}
		if entering+len(d.Calls) == 0 || since.IsZero() || ctx.Err() != nil {
			return d, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		case <-o.released:
			return d, nil
		}
	}
}

// Undrain implements admin.Sessions.
func (o *Operator) Undrain(ctx context.Context) {
	if o.cfg.Sessions.OpenDoor() {
		o.cfg.Audit.Event(ctx, audit.Event{Kind: audit.Undrained, Outcome: "ok"})
	}
}

// calls are those in flight in all sessions, the oldest first.
func (o *Operator) calls() []admin.Call {
	all := []admin.Call{}
	for _, v := range o.cfg.Sessions.Awake() {
		all = append(all, callsOf(v)...)
	}
	slices.SortFunc(all, func(a, b admin.Call) int { return a.Began.Compare(b.Began) })
	return all
}
