package launcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	sddbus "github.com/coreos/go-systemd/v22/dbus"
	"golang.org/x/sys/unix"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
)

// Bounds of the operations. A start is bounded by TimeoutStartSec= and a stop by
// TimeoutStopSec= of the session's unit; these are for a service manager that
// does not keep them.
const (
	startMargin = 10 * time.Second // beyond TimeoutStartSec=
	stopTimeout = 15 * time.Second
	callTimeout = 10 * time.Second
)

// manager carries out checked requests.
type manager struct {
	bus      *bus
	settings settings
	log      *slog.Logger  // a Server's alone
	starts   atomic.Uint32 // that succeeded
	pace     *pace         // a Server's alone
}

func fail(code launchproto.Code, format string, args ...any) launchproto.Reply {
	return launchproto.Reply{Code: code, Message: fmt.Sprintf(format, args...)}
}

// do carries out r, which has passed Check; fds are what packet.check let pass
// and stay the caller's.
func (m *manager) do(ctx context.Context, r launchproto.Request, fds []int) launchproto.Reply {
	switch r.Op {
	case launchproto.OpStart:
		return m.start(ctx, r, fds[0], fds[1])
	case launchproto.OpTouch:
		return m.touch(ctx, r.ID)
	case launchproto.OpStop:
		return m.stop(ctx, r.ID)
	case launchproto.OpList:
		return m.list(ctx)
	case launchproto.OpPing:
		return m.ping(ctx)
	}
	return fail(launchproto.CodeBadRequest, "unknown operation %q", r.Op)
}

func (m *manager) start(ctx context.Context, r launchproto.Request, mcp, control int) launchproto.Reply {
	f, err := m.settings.resolve()
	if err != nil {
		return fail(launchproto.CodeConfig, "%v", err)
	}
	delay, err := m.pace.next(r.Account, time.Now())
	if err != nil {
		return fail(launchproto.CodeFailed, "cannot start %s: %v; try again later", launchproto.UnitName(r.ID), err)
	}
	time.Sleep(delay)
	startCtx, cancel := context.WithTimeout(ctx, f.startTimeout+startMargin)
	defer cancel()
	service := launchproto.UnitName(r.ID)
	result, err := m.bus.job(startCtx, unsent, func(c *sddbus.Conn, ch chan<- string) (int, error) {
		return c.StartTransientUnitAux(startCtx, service, "fail",
			serviceProperties(r, f, mcp, control), []sddbus.PropertyCollection{reapTimer(r)}, ch)
	})
	switch {
	case isError(err, "UnitExists"): // also where somebody has made a file of that name
		return fail(launchproto.CodeExists, "cannot start %s: %v", service, err)
	case err == nil && result == "done":
		m.countStart(ctx)
		return launchproto.Reply{OK: true}
	}
	// Whatever became of the job, nothing of it may stay.
	cleanup := m.stop(context.WithoutCancel(ctx), r.ID)
	if err == nil {
		err = fmt.Errorf("start job ended as %q; see journalctl --namespace=+fjmcp -u %s", result, service)
	}
	if !cleanup.OK {
		err = fmt.Errorf("%w; clean-up: %s", err, cleanup.Message)
	}
	return fail(launchproto.CodeFailed, "cannot start %s: %v", service, err)
}

// touch restarts the reap timer, whose Requisite= makes the job fail when the
// session does not run. Mode "fail" keeps it from cancelling a stop job.
func (m *manager) touch(ctx context.Context, id string) launchproto.Reply {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := m.bus.finish(ctx, "touch", (*sddbus.Conn).RestartUnitContext, timerName(id), "fail")
	var end jobEnd
	switch {
	case err == nil:
		return launchproto.Reply{OK: true}
	case isError(err, "NoSuchUnit", "TransactionIsDestructive"):
	case errors.As(err, &end) && (end == "dependency" || end == "canceled" || end == "skipped"):
	default:
		return fail(launchproto.CodeFailed, "%v", err)
	}
	// The failed restart leaves the timer as it was.
	if err := m.bus.stop(ctx, timerName(id)); err != nil {
		return fail(launchproto.CodeFailed, "%v", err)
	}
	return fail(launchproto.CodeGone, "%s does not run", launchproto.UnitName(id))
}

func (m *manager) stop(ctx context.Context, id string) launchproto.Reply {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	err := errors.Join(m.bus.stop(ctx, launchproto.UnitName(id)), m.bus.stop(ctx, timerName(id)))
	if err != nil {
		return fail(launchproto.CodeFailed, "%v", err)
	}
	return launchproto.Reply{OK: true}
}

func (m *manager) list(ctx context.Context) launchproto.Reply {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ids, err := m.bus.sessions(ctx)
	if err != nil {
		return fail(launchproto.CodeFailed, "%v", err)
	}
	return launchproto.Reply{OK: true, IDs: ids}
}

// sessions are the ids of the sessions' units, in these states of theirs; in any if none
// is given.
func (b *bus) sessions(ctx context.Context, states ...string) ([]string, error) {
	var units []sddbus.UnitStatus
	err := b.use(ctx, always, func(c *sddbus.Conn, _ <-chan struct{}) (err error) {
		units, err = c.ListUnitsByPatternsContext(ctx, states, []string{launchproto.UnitName("*")})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list sessions: %w", err)
	}
	return sessionIDs(units), nil
}

// sessionIDs leaves out units that have ended and are only kept loaded by their
// timer.
func sessionIDs(units []sddbus.UnitStatus) (ids []string) {
	for _, u := range units {
		if id, ok := launchproto.UnitID(u.Name); ok && u.ActiveState != "inactive" && u.ActiveState != "failed" {
			ids = append(ids, id)
		}
	}
	return ids
}

// ping reports whether a session could be started.
func (m *manager) ping(ctx context.Context) launchproto.Reply {
	if _, err := m.settings.resolve(); err != nil {
		return fail(launchproto.CodeConfig, "%v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	limits, err := m.limits(ctx)
	if err != nil {
		return fail(launchproto.CodeFailed, "the service manager does not answer: %v", err)
	}
	if err := m.bus.checkEgress(ctx); err != nil {
		return fail(launchproto.CodeFailed, "%v", err)
	}
	return launchproto.Reply{OK: true, Limits: limits, Made: m.settings.made(unitDirs)}
}

// checkEgress reports whether sessions have a way to the forge. A socket that is only
// stopped starts with the next session.
func (b *bus) checkEgress(ctx context.Context) error {
	const socket = "fjmcp-egress.socket"
	return b.use(ctx, always, func(c *sddbus.Conn, _ <-chan struct{}) error {
		p, err := c.GetUnitPropertiesContext(ctx, socket)
		switch {
		case err != nil:
			return err
		case p["LoadState"] == "masked":
			return errors.New(socket + ", the sessions' way to the forge, is masked: systemctl unmask fjmcp-egress.socket fjmcp-egress.service")
		case p["ActiveState"] == "failed":
			return errors.New(socket + ", the sessions' way to the forge, has failed: systemctl status " + socket + " says why")
		}
		return nil
	})
}

// limits asks for what bounds the number of sessions.
func (m *manager) limits(ctx context.Context) (*launchproto.Limits, error) {
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
		return nil, err
	}
	limits := &launchproto.Limits{Files: own.Cur}
	err := m.bus.use(ctx, always, func(c *sddbus.Conn, _ <-chan struct{}) error {
		p, err := c.GetUnitTypePropertyContext(ctx, sessionSlice, "Slice", "TasksMax")
		if err != nil {
			return err
		}
		var ok bool
		if limits.Tasks, ok = p.Value.Value().(uint64); !ok {
			return fmt.Errorf("TasksMax of %s is %v", sessionSlice, p.Value)
		}
		return nil
	})
	return limits, err
}
