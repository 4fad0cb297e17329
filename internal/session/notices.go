package session

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// attach makes u, whose backend says server of itself, the unit that logs and tells of
// changes. A modern backend does so for its own calls only. Errors: relay.ErrClosed, or
// ctx's.
func (s *Session) attach(ctx context.Context, u *unit.Unit, server Server) error {
	can := server.Supports()
	if server.Modern {
		can = unit.Supports{}
	}
	var tell tellLevel
	if can.Logging {
		tell = func(ctx context.Context, level string) error {
			return u.Ask(ctx, mcp.MethodSetLoggingLevel, map[string]string{"level": level})
		}
	}
	if err := s.level.attach(ctx, tell); err != nil {
		return err
	}
	ask := func(ctx context.Context, method, uri string) error {
		return u.Ask(ctx, method, map[string]string{"uri": uri})
	}
	return s.subscriptions.Attach(ctx, ask, can)
}

// ListsChanged tells the session's clients that what they see of its lists may have changed:
// of each list that the answer to initialize, or to server/discover, has promised to tell.
func (s *Session) ListsChanged() {
	s.manager.mu.Lock()
	promised := s.row.Server
	s.manager.mu.Unlock()
	var server Server
	if json.Unmarshal([]byte(promised), &server) != nil { // it has not run yet, or is of a broker that promised nothing
		return
	}
	for _, method := range mcp.ListsChanged(server.Capabilities) {
		raw := mcp.NewNotification(method, []byte("{}"))
		if s.row.Kind != model.SessionShared {
			s.streams.Own().Append(raw)
		} else if u := s.running(); server.Modern && u != nil {
			u.Announce(method)
		} else if m, err := mcp.Parse(raw); err == nil {
			s.subscriptions.Publish(m)
		}
	}
}

// logLevel has a shared session's backend log from the lowest level that any
// request has asked for. What is too much for one of them is kept from it where
// it is answered.
type logLevel struct {
	mu     sync.Mutex // held while the backend is asked, so that it is asked in order
	tell   tellLevel  // nil where there is no backend that takes a level
	lowest string     // asked for so far, "" before the first
	set    string     // what the backend was told, likewise
}

// tellLevel sends logging/setLevel.
type tellLevel func(ctx context.Context, level string) error

// levelTimeout is for a backend that does not answer.
const levelTimeout = 10 * time.Second

// attach is for a fresh backend; tell is nil if it does not take a level.
func (l *logLevel) attach(ctx context.Context, tell tellLevel) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tell, l.set = tell, ""
	return l.applyLocked(ctx)
}

// ask lowers the level.
func (l *logLevel) ask(ctx context.Context, level string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lower(level, l.lowest) {
		l.lowest = level
	}
	if err := l.applyLocked(ctx); !errors.Is(err, relay.ErrClosed) { // else the next unit is told
		return err
	}
	return nil
}

// applyLocked tells the backend the lowest level. One that refuses a level, or does not
// answer, is not told it again.
func (l *logLevel) applyLocked(ctx context.Context) error {
	if l.tell == nil || l.lowest == "" || !lower(l.lowest, l.set) {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, levelTimeout)
	defer cancel()
	err := l.tell(bounded, l.lowest)
	silent := err != nil && bounded.Err() != nil && ctx.Err() == nil
	if err == nil || silent || errors.Is(err, unit.ErrRefused) {
		l.set = l.lowest
		return nil
	}
	return err
}

// lower reports whether more is logged from level a on than from b on, "" being
// nothing.
func lower(a, b string) bool { return b == "" || !mcp.Severe(a, b) }
