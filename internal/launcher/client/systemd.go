package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
)

// Systemd starts sessions as transient units through fjmcp-launcher. It is safe
// for concurrent use. It holds no connection between calls, so the launcher may
// come and go.
type Systemd struct {
	socket   string
	sessions int
}

// NewSystemd returns a client of the launcher's socket, which need not exist yet.
// sessions is how many are to live at once.
func NewSystemd(socketPath string, sessions int) *Systemd { return &Systemd{socketPath, sessions} }

// Start implements Launcher. The error is an *Error when the launcher refused.
func (s *Systemd) Start(ctx context.Context, spec Spec) error {
	mcp, control := spec.MCP.Fd(), spec.Control.Fd()
	_, err := s.call(ctx, request(spec), unix.UnixRights(int(mcp), int(control)))
	return err
}

func request(spec Spec) launchproto.Request {
	return launchproto.Request{
		Op: launchproto.OpStart, ID: spec.UnitID, Session: spec.SessionID, Account: spec.AccountID,
		IdleSeconds: int64(spec.Idle / time.Second), MaxSeconds: int64(spec.MaxAge / time.Second),
	}
}

// Touch implements Launcher.
func (s *Systemd) Touch(ctx context.Context, unitID string) error {
	_, err := s.call(ctx, launchproto.Request{Op: launchproto.OpTouch, ID: unitID}, nil)
	return err
}

// Stop implements Launcher.
func (s *Systemd) Stop(ctx context.Context, unitID string) error {
	_, err := s.call(ctx, launchproto.Request{Op: launchproto.OpStop, ID: unitID}, nil)
	return err
}

// List implements Launcher.
func (s *Systemd) List(ctx context.Context) ([]string, error) {
	reply, err := s.call(ctx, launchproto.Request{Op: launchproto.OpList}, nil)
	return reply.IDs, err
}

// Check implements Launcher: the launcher reaches the service manager and finds
// forgejo-mcp, and its limits allow for all sessions; *LimitsError where they do not.
func (s *Systemd) Check(ctx context.Context) (made string, err error) {
	reply, err := s.call(ctx, launchproto.Request{Op: launchproto.OpPing}, nil)
	if err != nil || reply.Limits == nil {
		return reply.Made, err
	}
	return reply.Made, checkLimits(*reply.Limits, s.sessions)
}

// checkLimits returns a *LimitsError if the limits are too low.
func checkLimits(l launchproto.Limits, sessions int) error {
	var e LimitsError
	for _, limit := range []struct {
		unit, directive string
		is, want        uint64
		cure            string
	}{
		{"fjmcp-launcher.service", "LimitNOFILE=", l.Files, launchproto.FilesFor(sessions), "systemctl edit fjmcp-launcher.service, systemctl restart fjmcp-launcher.service"},
		{"fjmcp-sessions.slice", "TasksMax=", l.Tasks, launchproto.TasksFor(sessions), "systemctl edit fjmcp-sessions.slice"},
	} {
		if limit.is < limit.want {
			e.Faults = append(e.Faults, fmt.Sprintf(
				"%d sessions are more than %s%d of %s allows for: lower the number, or set %s%d or more there (%s)",
				sessions, limit.directive, limit.is, limit.unit, limit.directive, limit.want, limit.cure))
		}
	}
	if len(e.Faults) > 0 {
		return &e
	}
	return nil
}

// Close implements Launcher. Units live on: they outlive the broker.
func (s *Systemd) Close() error { return nil }

// call makes one request on a connection of its own.
func (s *Systemd) call(ctx context.Context, r launchproto.Request, rights []byte) (launchproto.Reply, error) {
	if err := r.Check(); err != nil {
		return launchproto.Reply{}, &Error{Code: launchproto.CodeBadRequest, Message: err.Error()}
	}
	reply, err := s.exchange(ctx, r, rights)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return launchproto.Reply{}, fmt.Errorf("cannot ask the launcher to %s: %w", r.Op, err)
	}
	if !reply.OK {
		return launchproto.Reply{}, &Error{Code: reply.Code, Message: reply.Message}
	}
	return reply, nil
}

func (s *Systemd) exchange(ctx context.Context, r launchproto.Request, rights []byte) (launchproto.Reply, error) {
	var reply launchproto.Reply
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unixpacket", s.socket)
	if err != nil {
		return reply, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	packet, err := json.Marshal(r)
	if err != nil {
		return reply, err
	}
	if _, _, err := conn.(*net.UnixConn).WriteMsgUnix(packet, rights, nil); err != nil {
		return reply, err
	}
	buf := make([]byte, launchproto.MaxReply)
	n, err := conn.Read(buf)
	if errors.Is(err, io.EOF) {
		return reply, errors.New("it closed the connection without an answer; see journalctl -u fjmcp-launcher")
	}
	if err != nil {
		return reply, err
	}
	err = json.Unmarshal(buf[:n], &reply)
	return reply, err
}
