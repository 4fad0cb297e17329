package session

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/audit"
	"github.com/fjmcp/fjmcp-broker/internal/control"
	"github.com/fjmcp/fjmcp-broker/internal/launchproto"
	"github.com/fjmcp/fjmcp-broker/internal/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/relay"
	"github.com/fjmcp/fjmcp-broker/internal/spawn"
)

// Reasons of a StartError beside those of package control.
const (
	// ReasonTimeout: the backend did not answer initialize in time.
	ReasonTimeout control.Reason = "timeout"
	// ReasonLauncher: the launcher could not start the unit.
	ReasonLauncher control.Reason = "launcher"
)

// StartError says why a session could not start, or ended. Reason is fit for a
// client, Detail for the operator only.
type StartError struct {
	Reason    control.Reason
	Detail    string
	LastLines []string // end of the backend's standard error
}

// Error names the reason and the detail.
func (e *StartError) Error() string {
	return fmt.Sprintf("cannot run the session (%s): %s", e.Reason, e.Detail)
}

// start starts a unit for s and has it answer the session's initialize request.
func (m *Manager) start(ctx context.Context, s *Session) (*unit, mcp.Message, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, m.cfg.StartTimeout, errStartTimeout)
	defer cancel()
	// Asked here too so that a dead login or a forge that is down is told apart
	// from a unit that does not start.
	if _, err := m.cfg.Tokens.Token(ctx, s.row.UserID); err != nil {
		return nil, mcp.Message{}, err
	}
	u, err := m.run(ctx, s)
	if err != nil {
		return nil, mcp.Message{}, err
	}
	answer, err := u.initialize(ctx)
	if err != nil {
		u.stop(ctx)
		if !errors.Is(err, context.Canceled) { // the client has left; nothing is wrong
			u.report(err)
		}
		return nil, mcp.Message{}, err
	}
	e := s.event(audit.SessionStarted, "ok")
	e.Unit = unitName(u.id)
	m.cfg.Audit.Event(ctx, e)
	return u, answer, nil
}

var errStartTimeout = errors.New("the session did not start in time")

// launchFailure tells a client's reason from the launcher's error.
func launchFailure(err error) *StartError {
	var refused *spawn.Error
	if errors.As(err, &refused) && refused.Code == launchproto.CodeConfig {
		return &StartError{Reason: control.ReasonBackendMissing, Detail: err.Error()}
	}
	return &StartError{Reason: ReasonLauncher, Detail: err.Error()}
}

// run takes a place among the running units and has a unit started there.
func (m *Manager) run(ctx context.Context, s *Session) (*unit, error) {
	u, ends, err := m.newUnit(s)
	if err != nil {
		return nil, err
	}
	defer ends.close()
	if err := m.reserve(ctx, u); err != nil {
		u.relay.Close()
		return nil, err
	}
	if err := u.launch(ctx, ends); err != nil {
		u.relay.Close()
		fail := launchFailure(err)
		u.report(fail)
		return nil, fail
	}
	return u, nil
}

// reserve makes room if need be by letting the longest idle unit of the user,
// or of all, go dormant.
func (m *Manager) reserve(ctx context.Context, u *unit) error {
	for {
		victim, err := m.place(u)
		if err != nil || victim == nil {
			return err
		}
		victim.stop(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// place enters u among the units, or names one that must go first.
func (m *Manager) place(u *unit) (victim *unit, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return nil, ErrBusy
	}
	owner := u.session.row.UserID
	own := m.idlest(func(o *unit) bool { return o.session.row.UserID == owner })
	all := m.idlest(func(*unit) bool { return true })
	switch {
	case own.count >= m.cfg.PerUser:
		victim = own.unit
	case all.count >= m.cfg.Max:
		victim = all.unit
	default:
		m.units[u.id] = u
		return nil, nil
	}
	if victim == nil {
		return nil, ErrBusy
	}
	return victim, nil
}

// candidates counts the units of a kind and names the longest idle.
type candidates struct {
	count int
	unit  *unit
}

func (m *Manager) idlest(of func(*unit) bool) candidates {
	var c candidates
	var oldest time.Time
	for _, u := range m.units {
		if !of(u) {
			continue
		}
		c.count++
		if u.session.unit != u || u.relay.InFlight() > 0 { // starting, or at work
			continue
		}
		if used := u.used(); c.unit == nil || used.Before(oldest) {
			c.unit, oldest = u, used
		}
	}
	return c
}

// initialize sends the session's initialize request and returns the answer.
func (u *unit) initialize(ctx context.Context) (mcp.Message, error) {
	request, err := mcp.Parse([]byte(u.session.row.Initialize))
	if err != nil {
		return mcp.Message{}, fmt.Errorf("cannot replay initialize: %w", err)
	}
	var answer mcp.Message
	if err = u.awaitMode(ctx); err == nil {
		answer, err = u.ask(ctx, request)
	}
	switch {
	case errors.Is(err, relay.ErrClosed):
		<-u.gone
		if fail := u.failure(); fail != nil {
			return mcp.Message{}, fail
		}
		return mcp.Message{}, &StartError{Reason: control.ReasonCrashed, Detail: "the backend ended before it answered initialize"}
	case errors.Is(err, errStartTimeout):
		return mcp.Message{}, &StartError{Reason: ReasonTimeout, Detail: fmt.Sprintf("no answer to initialize within %v", u.manager.cfg.StartTimeout)}
	case err != nil:
		return mcp.Message{}, err
	}
	if v := answer.ResultString("serverInfo", "version"); answer.ResultString("serverInfo", "name") == backendName && olderThan(v, oldestBackend) {
		return mcp.Message{}, &StartError{Reason: control.ReasonBackendTooOld, Detail: fmt.Sprintf("forgejo-mcp %s is too old; install %s or newer", v, oldestBackend)}
	}
	return answer, nil
}

// ask makes a call of the broker's own and returns the response.
func (u *unit) ask(ctx context.Context, request mcp.Message) (mcp.Message, error) {
	call, err := u.relay.Start(ctx, request)
	if err != nil {
		return mcp.Message{}, err
	}
	for {
		e, err := call.Next(ctx)
		if err != nil {
			return mcp.Message{}, err
		}
		if e.Final {
			return mcp.Parse(e.Raw)
		}
	}
}

// resume brings a fresh unit to where the session was: initialized, with the
// client's log level.
func (u *unit) resume(ctx context.Context, answer mcp.Message, level []byte) error {
	if answer.IsError() {
		return &StartError{Reason: control.ReasonCrashed, Detail: "the backend refused the replayed initialize"}
	}
	u.initialized.Store(true)
	initialized, _ := mcp.Parse([]byte(`{"jsonrpc":"2.0","method":"` + mcp.MethodInitialized + `"}`))
	if err := u.relay.Notify(ctx, initialized); err != nil || level == nil {
		return err
	}
	request, err := mcp.Parse(level)
	if err == nil {
		_, err = u.ask(ctx, request)
	}
	return err
}

// failure is the *StartError of a unit that has ended by itself, nil for one
// that was told to.
func (u *unit) failure() error {
	if u.stopping.Load() {
		return nil // its last words may not have come yet
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch u.last.Type {
	case control.TypeFailed:
		return &StartError{Reason: u.last.Reason, Detail: u.last.Detail, LastLines: u.last.LastLines}
	case control.TypeExited:
		return nil
	}
	return &StartError{Reason: control.ReasonCrashed, Detail: "the session ended without a word"}
}

// report writes a failure for the operator: one event, with the backend's last
// words.
func (u *unit) report(err error) {
	e := u.session.event(audit.SessionFailed, "error")
	e.Unit, e.Failed = unitName(u.id), true
	var fail *StartError
	if errors.As(err, &fail) {
		e.Outcome, e.Detail = string(fail.Reason), fail.Detail
	} else if err != nil {
		e.Detail = err.Error()
	}
	u.manager.cfg.Audit.Event(context.Background(), e)
	if fail != nil && len(fail.LastLines) > 0 {
		u.manager.cfg.Log.Warn("last words of the backend", "unit", unitName(u.id), "user", u.session.row.UserName, "stderr", strings.Join(fail.LastLines, " ⏎ "))
	}
}

const (
	backendName   = "Forgejo MCP Server" // serverInfo.name, since its first release
	oldestBackend = "2.18.0"
)

// olderThan compares dotted versions numerically. What is no version ("dev") is
// not older than anything.
func olderThan(version, limit string) bool {
	v, l := numbers(version), numbers(limit)
	for i := range min(len(v), len(l)) {
		if v[i] != l[i] {
			return v[i] < l[i]
		}
	}
	return false
}

func numbers(version string) []int {
	var out []int
	version, _, _ = strings.Cut(strings.TrimPrefix(version, "v"), "-")
	for part := range strings.SplitSeq(version, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return out
		}
		out = append(out, n)
	}
	return out
}

// StartReason returns the reason in err, "" when there is none.
func StartReason(err error) control.Reason {
	var fail *StartError
	if errors.As(err, &fail) {
		return fail.Reason
	}
	return ""
}
