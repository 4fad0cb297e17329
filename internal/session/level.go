package session

import (
	"context"
	"errors"
	"sync"

	"github.com/fjmcp/fjmcp-broker/internal/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/relay"
	"github.com/fjmcp/fjmcp-broker/internal/unit"
)

// logLevel has a shared session's backend log from the lowest level that any
// request has asked for. What is too much for one of them is kept from it where
// it is answered.
type logLevel struct {
	mu      sync.Mutex // held while the backend is asked, so that it is asked in order
	backend *unit.Unit // nil where there is none that takes a level
	lowest  string     // asked for so far, "" before the first
	set     string     // what the backend was told, likewise
}

// attach makes u the backend, or nil if it does not take a level.
func (l *logLevel) attach(ctx context.Context, u *unit.Unit) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.backend, l.set = u, ""
	return l.tell(ctx)
}

// ask lowers the level.
func (l *logLevel) ask(ctx context.Context, level string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lower(level, l.lowest) {
		l.lowest = level
	}
	if err := l.tell(ctx); !errors.Is(err, relay.ErrClosed) { // else the next unit is told
		return err
	}
	return nil
}

// tell is called with mu held. A backend that refuses a level is not asked again.
func (l *logLevel) tell(ctx context.Context) error {
	if l.backend == nil || l.lowest == "" || !lower(l.lowest, l.set) {
		return nil
	}
	err := l.backend.Ask(ctx, mcp.MethodSetLoggingLevel, map[string]string{"level": l.lowest})
	if err == nil || errors.Is(err, unit.ErrRefused) {
		l.set = l.lowest
		return nil
	}
	return err
}

// lower reports whether more is logged from level a on than from b on, "" being
// nothing.
func lower(a, b string) bool { return b == "" || !mcp.Severe(a, b) }
