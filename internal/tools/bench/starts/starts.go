package starts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// How many sessions live while something is measured.
const (
	someLive = 200
	mostLive = 300
)

// Config says what to measure, and how long.
type Config struct {
	Deb      string // the package
	Child    string // the MCP server behind it, started as forgejo-mcp is
	Forker   string // internal/tools/forker
	Tool     string // of the child, for the small call; it takes no arguments
	Rounds   int    // how often each measure has its turn
	Out      io.Writer
	Progress io.Writer

	Suite    string // Debian's name; empty means bookworm
	sessions int    // that may live at once; 0 means some more than mostLive
}

// measure is one way to a first answer.
type measure struct {
	name    string
	prepare func(context.Context) error // before each turn
	once    func(context.Context) (time.Duration, error)
}

// Run measures and writes tables.
func Run(ctx context.Context, cfg Config) (err error) {
	fmt.Fprintln(cfg.Progress, "booting a container")
	s, err := boot(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	b := &bench{cfg: cfg, system: s}
	if err := b.begin(ctx); err != nil {
		return err
	}
	r := &report{version: s.version, exposure: b.exposure}
	fmt.Fprintln(cfg.Progress, "measuring starts")
	if r.none, err = b.rounds(ctx, append(b.starts(), b.logins()...)); err != nil {
		return err
	}
	fmt.Fprintln(cfg.Progress, "measuring a call")
	if r.single, err = b.calls(ctx, []string{b.session}); err != nil {
		return err
	}
	fmt.Fprintf(cfg.Progress, "measuring with %d live sessions\n", someLive)
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
	fmt.Fprintf(cfg.Progress, "measuring with %d live sessions\n", mostLive)
	more, err := b.live(ctx, mostLive-someLive)
	if err != nil {
		return err
	}
	if r.most, err = b.calls(ctx, append(live, more...)); err != nil {
		return err
	}
	r.write(cfg.Out)
	return nil
}
