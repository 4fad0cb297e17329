package starts

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// bench measures one system.
type bench struct {
	cfg      Config
	system   *system
	client   *client
	session  string // one that is put to sleep and woken
	label    string // by which the journal knows it
	exposure float64
}

// begin logs in and begins a session.
func (b *bench) begin(ctx context.Context) (err error) {
	if b.client, err = b.system.login(ctx); err != nil {
		return err
	}
	if b.session, _, err = b.client.open(); err != nil {
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
func (b *bench) starts() []measure {
	var all []measure
	for _, l := range []launcher{warmLauncher, coldLauncher} {
		put := func(ctx context.Context) error { return b.system.put(ctx, l) }
		sleep := func(ctx context.Context) error {
			if err := b.system.sleep(ctx, b.label); err != nil {
				return err
			}
			return put(ctx)
		}
		all = append(all,
			measure{startOf(l), put, func(context.Context) (time.Duration, error) { return b.start(b.client) }},
			measure{wakeOf(l), sleep, func(context.Context) (time.Duration, error) {
				a, err := b.client.request(b.session, ping)
				return a.took, err
			}})
	}
	return all
}

func startOf(l launcher) string { return "start, " + string(l) }
func wakeOf(l launcher) string  { return "wake, " + string(l) }

// ahead is how long after its login a client's first request comes.
const ahead = 250 * time.Millisecond

// logins are the measures of the first session after a login.
func (b *bench) logins() []measure {
	var all []measure
	for _, l := range []launcher{warmLauncher, coldLauncher} {
		all = append(all, b.login(loginOf(l), l, ahead), b.login(loginOf(l)+", at once", l, 0))
	}
	return all
}

func loginOf(l launcher) string { return "after a login, " + string(l) }

func (b *bench) login(name string, l launcher, wait time.Duration) measure {
	prepare := func(ctx context.Context) error {
		err := b.system.put(ctx, l)
		time.Sleep(wait)
		return err
	}
	return measure{name, prepare, func(ctx context.Context) (time.Duration, error) {
		c, err := b.system.login(ctx)
		if err != nil {
			return 0, err
		}
		defer c.close()
		time.Sleep(wait)
		return b.start(c)
	}}
}

// start begins a session and ends it. Only the beginning counts.
func (b *bench) start(c *client) (time.Duration, error) {
	session, took, err := c.open()
	if err != nil {
		return 0, err
	}
	return took, c.end(session)
}

// rounds has each measure take its turn, beginning with another one each time. Before
// it there is a plain fork after the same preparation: a machine that has rested, or
// has just done something else, is slower at whatever it is asked next.
func (b *bench) rounds(ctx context.Context, all []measure) (results, error) {
	r := results{}
	for round := range b.cfg.Rounds {
		for i := range all {
			m := all[(i+round)%len(all)]
			for _, turn := range []measure{{forkOf(m.name), m.prepare, b.system.fork}, m} {
				if err := turn.prepare(ctx); err != nil {
					return nil, fmt.Errorf("%s: %w", turn.name, err)
				}
				took, err := turn.once(ctx)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", turn.name, err)
				}
				r.add(turn.name, round, took)
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return r, nil
}

// live begins n sessions that stay, on connections that do not.
func (b *bench) live(ctx context.Context, n int) ([]string, error) {
	var mu sync.Mutex
	var sessions []string
	var all errgroup.Group
	all.SetLimit(4)
	for range n {
		all.Go(func() error {
			c, err := dial(ctx, b.system, b.client.token)
			if err != nil {
				return err
			}
			defer c.close()
			session, _, err := c.open()
			mu.Lock()
			defer mu.Unlock()
			sessions = append(sessions, session)
			return err
		})
	}
	return sessions, all.Wait()
}

const (
	callsMade = 600
	callEvery = 20 * time.Millisecond // a low load
)

// calls makes one small call after the other, each in a session by chance.
func (b *bench) calls(ctx context.Context, sessions []string) ([]time.Duration, error) {
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1000000001,"method":"tools/call","params":{"name":%q,"arguments":{}}}`, b.cfg.Tool)
	for _, s := range sessions { // the first one in each touches memory that later ones have
		if _, err := b.client.request(s, body); err != nil {
			return nil, err
		}
	}
	tick := time.NewTicker(callEvery)
	defer tick.Stop()
	var took []time.Duration
	for range callsMade {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
		a, err := b.client.request(sessions[rand.IntN(len(sessions))], body)
		if err != nil {
			return nil, err
		}
		took = append(took, a.took)
	}
	return took, nil
}
