package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/fjmcp/fjmcp-broker/internal/test/localbroker"
)

// memory is what processes keep for themselves, bytes.
type memory struct {
	count     int       // of idle sessions
	none      float64   // the broker that has served sessions and has none
	idle      float64   // with count sessions, whose clients have no connection open
	listening float64   // with an open event stream each
	sessions  []float64 // each fjmcp-session
}

// each is what a session adds to the broker, from what all of them do.
func (m memory) each(all float64) float64 { return (all - m.none) / float64(m.count) }

// measureMemory measures a broker of its own, with which the sessions end.
func measureMemory(ctx context.Context, cfg config, forge *localbroker.Forge, dir string) (m memory, err error) {
	m.count = cfg.idle
	state := filepath.Join(dir, "idle")
	if err := os.Mkdir(state, 0o700); err != nil {
		return m, err
	}
	b, err := startBroker(ctx, cfg, forge, state)
	if err != nil {
		return m, err
	}
	defer b.stop()
	if m.none, err = b.withoutSessions(ctx); err != nil {
		return m, errors.Join(err, errors.New(b.lastWords()))
	}
	sessions, err := b.open(ctx, m.count)
	if err != nil {
		return m, errors.Join(err, errors.New(b.lastWords()))
	}
	if m.idle, err = private(b.Pid()); err != nil {
		return m, err
	}
	if m.sessions, err = privateOfChildren(b.Pid()); err != nil {
		return m, err
	}
	m.listening, err = b.listening(ctx, sessions)
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

// open begins n sessions whose clients ask for the tools and hang up.
func (b *broker) open(ctx context.Context, n int) ([]*httpSession, error) {
	sessions := make([]*httpSession, n)
	err := atOnce(n, openAtOnce, func(i int) error {
		w, err := b.connect(ctx)
		if err != nil {
			return err
		}
		if sessions[i], _, err = w.begin(); err == nil {
			_, _, err = checked(sessions[i], toolsList)
		}
		sessions[i].hangUp()
		return err
	})
	return sessions, err
}

// withoutSessions is what the broker keeps when it has begun and ended some, so
// that what it does for the first of them counts for none of those to come.
func (b *broker) withoutSessions(ctx context.Context) (float64, error) {
	sessions, err := b.open(ctx, openAtOnce)
	if err != nil {
		return 0, err
	}
	for _, s := range sessions {
		if err := s.reach(ctx); err != nil {
			return 0, err
		}
		if err := s.Close(); err != nil {
			return 0, err
		}
	}
	return private(b.Pid())
}

// listening is what the broker keeps while each session listens.
func (b *broker) listening(ctx context.Context, sessions []*httpSession) (float64, error) {
	streams := make([]io.Closer, len(sessions))
	defer func() {
		for _, s := range streams {
			if s != nil {
				s.Close()
			}
		}
	}()
	err := atOnce(len(sessions), openAtOnce, func(i int) (err error) {
		streams[i], err = sessions[i].listen(ctx)
		return err
	})
	if err != nil {
		return 0, err
	}
	return private(b.Pid())
}
