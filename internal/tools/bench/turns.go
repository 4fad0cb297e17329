package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// bench measures one system.
type bench struct {
	cfg      config
	system   *system
	wire     *wire        // of the one client
	session  *httpSession // one that is put to sleep and woken
	label    string       // by which the journal knows it
	exposure float64
}

// first logs in and begins a session.
func (b *bench) first(ctx context.Context) (err error) {
	if b.wire, err = b.system.login(ctx); err != nil {
		return err
	}
	if b.session, _, err = b.wire.begin(); err != nil {
		return err
	}
	all, err := b.system.sessions(ctx)
	if err != nil {
		return err
	}
	if len(all) != 1 {
		return fmt.Errorf("%d sessions, want one", len(all))
	}
	b.label = all[0].ID
	b.exposure, err = b.system.exposure(ctx, all[0].Unit)
	return err
}

// starts are the measures that need no login.
func (b *bench) starts() []turn {
	var all []turn
	for _, l := range []launcher{warmLauncher, coldLauncher} {
		put := func(ctx context.Context) error { return b.system.put(ctx, l) }
		sleep := func(ctx context.Context) error {
			if err := b.system.sleep(ctx, b.label); err != nil {
				return err
			}
			return put(ctx)
		}
		all = append(all,
			turn{startOf(l), put, func(context.Context) (time.Duration, error) { return b.wire.start() }},
			turn{wakeOf(l), sleep, func(context.Context) (time.Duration, error) {
				_, took, err := checked(b.session, ping)
				return took, err
			}})
	}
	return all
}

func startOf(l launcher) string { return "start, " + string(l) }
func wakeOf(l launcher) string  { return "wake, " + string(l) }

// ahead is how long after its login a client's first request comes.
const ahead = 250 * time.Millisecond

// logins are the measures of the first session after a login.
func (b *bench) logins() []turn {
	var all []turn
	for _, l := range []launcher{warmLauncher, coldLauncher} {
		all = append(all, b.login(loginOf(l), l, ahead), b.login(loginOf(l)+", at once", l, 0))
	}
	return all
}

func loginOf(l launcher) string { return "after a login, " + string(l) }

func (b *bench) login(name string, l launcher, wait time.Duration) turn {
	prepare := func(ctx context.Context) error {
		err := b.system.put(ctx, l)
		time.Sleep(wait)
		return err
	}
	return turn{name, prepare, func(ctx context.Context) (time.Duration, error) {
		w, err := b.system.login(ctx)
		if err != nil {
			return 0, err
		}
		defer w.conn.Close()
		time.Sleep(wait)
		return w.start()
	}}
}

// start begins a session and ends it. Only the beginning counts.
func (w *wire) start() (time.Duration, error) {
	s, took, err := w.begin()
	if err != nil {
		return 0, err
	}
	return took, s.end()
}

// rounds has each measure take its turn, beginning with another one each time. Before
// it there is a plain fork after the same preparation: a machine that has rested, or
// has just done something else, is slower at whatever it is asked next.
func (b *bench) rounds(ctx context.Context, all []turn) (results, error) {
	r := results{}
	for round := range b.cfg.rounds {
		for i := range all {
			m := all[(i+round)%len(all)]
			for _, t := range []turn{{forkOf(m.name), m.prepare, b.system.fork}, m} {
				if err := t.prepare(ctx); err != nil {
					return nil, fmt.Errorf("%s: %w", t.name, err)
				}
				took, err := t.once(ctx)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", t.name, err)
				}
				r.add(t.name, round, took)
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return r, nil
}

// live begins n sessions that stay, on connections that do not.
func (b *bench) live(ctx context.Context, n int) ([]*httpSession, error) {
	sessions := make([]*httpSession, n)
	err := atOnce(n, 4, func(i int) error {
		w, err := b.wire.connect(ctx)
		if err != nil {
			return err
		}
		sessions[i], _, err = w.begin()
		sessions[i].hangUp()
		return err
	})
	return sessions, err
}

const (
	callsMade = 600
	callEvery = 20 * time.Millisecond // a low load
)

// calls makes one small call after the other on one connection, each in a session by
// chance.
func (b *bench) calls(ctx context.Context, sessions []*httpSession) ([]float64, error) {
	call := toolCall(b.cfg.tool)
	for _, s := range sessions { // the first one in each touches memory that later ones have
		s.wire = b.wire
		if _, _, err := checked(s, call); err != nil {
			return nil, err
		}
	}
	tick := time.NewTicker(callEvery)
	defer tick.Stop()
	var all []float64
	for range callsMade {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
		_, took, err := checked(sessions[rand.IntN(len(sessions))], call)
		if err != nil {
			return nil, err
		}
		all = append(all, float64(took))
	}
	return all, nil
}
