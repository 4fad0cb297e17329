package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

const (
	hostile = 8   // sessions of another user
	heldBy  = 100 // calls in flight of each, as many as a session may have
	settled = 300 * time.Millisecond
)

var (
	// forgeCall asks the forge about the user, repoCall about a repository.
	forgeCall = request{"tools/call", `{"name":"get_my_user_info","arguments":{}}`}
	repoCall  = request{"tools/call", `{"name":"list_repo_issues","arguments":{"owner":"alice","repo":"hello"}}`}
	heldPath  = fakeforge.APIPath + "repos/alice/hello/issues"
)

// beside measures a call that asks the forge, alone and while another user's sessions hold
// as many slow requests as they may, in turn.
func (b *broker) beside(ctx context.Context, cfg config, forge *fakeforge.Server, r results) []figure {
	victims := must(openAll(ctx, b.target("alone"), 1, forgeCall))
	defer func() { _ = closeAll(victims) }()
	other := must(userOf(ctx, b.Broker, "bob"))
	crowd := must(other.live(ctx, hostile, repoCall))
	take := func(ctx context.Context) (slice, error) { return calls(ctx, victims, forgeCall, cfg.slice) }
	need(r.inTurn(ctx, cfg.rounds, []turn{{
		{"Forge/beside=nobody", take},
		{"Forge/beside=hostile", func(ctx context.Context) (s slice, err error) {
			release, err := hold(ctx, forge, crowd)
			if err == nil {
				s, err = take(ctx)
			}
			return s, errors.Join(err, release())
		}},
	}}, cfg.line))
	need(r["Forge/beside=nobody"].failed)
	need(r["Forge/beside=hostile"].failed)
	ratio := r.ratio("Forge/beside=hostile", "Forge/beside=nobody", (*series).medians)
	r.table(cfg.out, "A call that asks the forge, beside another user's hostile sessions", "this ÷ alone (quartiles of the rounds)", []row{
		{"alone", "Forge/beside=nobody", spreadOf(nil)}, {"beside", "Forge/beside=hostile", ratio},
	})
	return []figure{{"call beside hostile sessions, p50, by alone", ratio.Median, "times", "at most", 2}}
}

// hold has sessions make all the calls they may, which the forge does not answer, and returns
// when no more come to it. release has them answered, and waits for that.
func hold(ctx context.Context, forge *fakeforge.Server, sessions []*httpSession) (release func() error, err error) {
	if err := forge.Inject(fakeforge.Fault{Path: heldPath, Kind: "hold"}); err != nil {
		return func() error { return nil }, err
	}
	var waiting sync.WaitGroup
	ended := make(chan error, len(sessions)*heldBy)
	for _, s := range sessions {
		for i := range heldBy {
			waiting.Go(func() {
				w, err := s.connect(ctx)
				if err == nil {
					defer w.conn.Close()
					one := &httpSession{wire: w, headers: s.headers, id: s.id, next: firstID + i}
					_, _, err = checked(one, repoCall)
				}
				ended <- err
			})
		}
	}
	release = func() (err error) {
		forge.ClearFaults()
		waiting.Wait()
		for range len(sessions) * heldBy {
			err = errors.Join(err, <-ended)
		}
		return err
	}
	for held, since := 0, time.Now(); held == 0 || time.Since(since) < settled; time.Sleep(settled / 30) {
		if now := forge.Waiting(); now != held {
			held, since = now, time.Now()
		}
		if time.Since(since) > patience {
			return release, errors.New("the forge holds no request")
		}
	}
	return release, ctx.Err()
}
