package sandbox

import (
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/logging"
	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
)

const (
	// lineCost is what a line counts besides its bytes, about what the journal keeps
	// with it.
	lineCost = 128
	// maxLine bounds a line in bytes. journald would cut one of 48 KiB into lines, of
	// which the second begins as its writer likes (LineMax= in journald.conf(5)).
	maxLine = 8 << 10
	// saidEvery is how often it is said how much was left out.
	saidEvery = time.Minute
)

// Output is what a session writes to its log: lines of its own, and its child's. From
// Bound on they keep to a budget of bytes, and what goes beyond it is counted. It is
// safe for concurrent use.
type Output struct {
	w   io.Writer
	now func() time.Time

	mu           sync.Mutex
	budget       *rate.Limiter // nil before Bound
	lines, bytes int           // left out, and not said yet
	said         time.Time
}

// NewOutput returns an Output without a bound that writes to w.
func NewOutput(w io.Writer) *Output { return &Output{w: w, now: time.Now} }

// Bound begins the budget: atOnce bytes, control.MostOutput at most, to which
// control.OutputPerSecond come.
func (o *Output) Bound(atOnce int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.budget = rate.NewLimiter(control.OutputPerSecond, control.MostOutput)
	o.budget.AllowN(o.now(), control.MostOutput-max(0, min(atOnce, control.MostOutput)))
}

// Write takes one line, and claims to have written one that it leaves out.
func (o *Output) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	text, now := cut(line), o.now()
	if o.budget != nil && !o.budget.AllowN(now, lineCost+len(text)) {
		o.lines++
		o.bytes += len(line)
		return len(line), nil
	}
	if now.Sub(o.said) >= saidEvery {
		o.sayLocked(now)
	}
	if _, err := o.w.Write(text); err != nil {
		return 0, err
	}
	return len(line), nil
}

func cut(line []byte) []byte {
	if len(line) <= maxLine {
		return line
	}
	return []byte(strings.ToValidUTF8(string(line[:maxLine]), "") + "…\n")
}

// always is an Output beyond its budget, for what is written once.
type always struct{ *Output }

func (a always) Write(line []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := a.w.Write(cut(line)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// Close says how much was left out. It does not close what the lines are written to.
func (o *Output) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sayLocked(o.now())
}

func (o *Output) sayLocked(now time.Time) {
	if o.lines == 0 {
		return
	}
	logging.Untimed(o.w).Warn("the session wrote more than its log takes", "lines_left_out", o.lines, "bytes_left_out", o.bytes)
	o.lines, o.bytes, o.said = 0, 0, now
}
