package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// How many sessions live while something is measured.
const (
	someLive = 200
	mostLive = 300
)

// turn is one way to a first answer.
type turn struct {
	name    string
	prepare func(context.Context) error // before each turn
	once    func(context.Context) (time.Duration, error)
}

// units measures how long sessions take to start and to wake in their units, what one
// keeps for itself, and what three hundred live ones do to a call. The measure of all is
// a plain fork of the same child in the same container, in turn with what it is
// compared to.
func units(ctx context.Context, cfg config) (err error) {
	fmt.Fprintln(cfg.progress, "booting a container")
	s, err := boot(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	b := &bench{cfg: cfg, system: s}
	if err := b.first(ctx); err != nil {
		return err
	}
	r := &unitReport{version: s.version, exposure: b.exposure}
	fmt.Fprintln(cfg.progress, "measuring starts")
	if r.none, err = b.rounds(ctx, append(b.starts(), b.logins()...)); err != nil {
		return err
	}
	fmt.Fprintln(cfg.progress, "measuring a call")
	if r.single, err = b.calls(ctx, []*httpSession{b.session}); err != nil {
		return err
	}
	fmt.Fprintf(cfg.progress, "measuring with %d live sessions\n", someLive)
	live, err := b.live(ctx, someLive)
	if err != nil {
		return err
	}
	if r.some, err = b.rounds(ctx, b.starts()); err != nil {
		return err
	}
	if r.memory, err = s.memory(ctx); err != nil {
		return err
	}
	fmt.Fprintf(cfg.progress, "measuring with %d live sessions\n", mostLive)
	more, err := b.live(ctx, mostLive-someLive)
	if err != nil {
		return err
	}
	if r.most, err = b.calls(ctx, append(live, more...)); err != nil {
		return err
	}
	r.write(cfg.out)
	return nil
}
