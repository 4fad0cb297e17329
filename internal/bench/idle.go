package bench

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/fjmcp/fjmcp-broker/internal/trial"
)

// idleSessions is how many sessions wait while memory is measured.
const idleSessions = 200

// memory is what processes keep for themselves, bytes.
type memory struct {
	none      float64   // the broker without sessions
	idle      float64   // with idleSessions, each with a connection open
	listening float64   // with an open event stream each besides
	sessions  []float64 // each fjmcp-session
}

// each is what a session adds to the broker, from what all of them do.
func (m memory) each(all float64) float64 { return (all - m.none) / idleSessions }

// measureMemory measures a broker of its own.
func measureMemory(ctx context.Context, cfg Config, forge *trial.Forge, dir string) (m memory, err error) {
	state := filepath.Join(dir, "idle")
	if err := os.Mkdir(state, 0o700); err != nil {
		return m, err
	}
	b, err := startBroker(ctx, cfg, forge, state)
	if err != nil {
		return m, err
	}
	defer b.stop()
	t, err := b.target()
	if err != nil {
		return m, err
	}
	if m.none, err = private(b.Pid()); err != nil {
		return m, err
	}
	sessions, err := openAll(ctx, t, idleSessions, request{"tools/list", "{}"}, 1)
	if err != nil {
		return m, errors.Join(err, errors.New(b.lastWords()))
	}
	defer closeAll(sessions)
	if m.idle, err = private(b.Pid()); err != nil {
		return m, err
	}
	if m.sessions, err = privateOfChildren(b.Pid()); err != nil {
		return m, err
	}
	streams, err := listenAll(ctx, sessions)
	if err != nil {
		return m, err
	}
	defer closeStreams(streams)
	m.listening, err = private(b.Pid())
	return m, err
}

func privateOfChildren(pid int) ([]float64, error) {
	pids, err := children(pid)
	if err != nil {
		return nil, err
	}
	var all []float64
	for _, pid := range pids {
		n, err := private(pid)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

func listenAll(ctx context.Context, sessions []Session) ([]io.Closer, error) {
	streams := make([]io.Closer, len(sessions))
	var all errgroup.Group
	all.SetLimit(8)
	for i, s := range sessions {
		all.Go(func() (err error) {
			streams[i], err = s.(*httpSession).Listen(ctx)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		closeStreams(streams)
		return nil, err
	}
	return streams, nil
}

func closeStreams(streams []io.Closer) {
	for _, s := range streams {
		if s != nil {
			s.Close()
		}
	}
}
