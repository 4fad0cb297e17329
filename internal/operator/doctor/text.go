package doctor

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
)

// Print examines, and writes each finding to out as it comes, and to progress what takes
// longer than a second.
func (d Doctor) Print(ctx context.Context, out, progress io.Writer) Report {
	d.Told = func(f Finding) { write(out, f) }
	r := d.Watched(ctx, progress)
	failing, warning := 0, 0
	for _, f := range r.Findings {
		switch f.State {
		case health.Failing:
			failing++
		case health.Warning:
			warning++
		}
	}
	fmt.Fprintf(out, "\n%s: of %d looks %d fail and %d warn.\n", r.Health, len(r.Findings), failing, warning)
	return r
}

// Watched examines, and writes to progress what takes longer than a second.
func (d Doctor) Watched(ctx context.Context, progress io.Writer) Report {
	var slow *time.Timer
	stop := func() {
		if slow != nil {
			slow.Stop()
		}
	}
	defer stop()
	d.Waits = func(what string) {
		stop()
		slow = time.AfterFunc(time.Second, func() { fmt.Fprintln(progress, "looking at "+what+" …") })
	}
	return d.Examine(ctx)
}

// nameWidth is of the longest name there is.
const nameWidth = 18

// write writes a finding for people: a line of its own, and below it the cause and the
// cure of each problem. w keeps control characters out.
func write(w io.Writer, f Finding) {
	state := string(f.State)
	line := fmt.Sprintf("%-*s %-8s %s", nameWidth, f.Name, state, oneLine(f.Detail))
	if len(f.Problems) > 0 {
		line = fmt.Sprintf("%-*s %-8s", nameWidth, f.Name, state)
	}
	fmt.Fprintln(w, strings.TrimRight(line, " "))
	for _, p := range f.Problems {
		fmt.Fprintf(w, "    %s\n", oneLine(p.Cause))
		if p.Cure != "" {
			fmt.Fprintf(w, "      to do: %s\n", oneLine(p.Cure))
		}
	}
}

// oneLine keeps what a broker says from looking like what this program says.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
