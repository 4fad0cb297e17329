package setup

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
)

const (
	socketUnit  = "fjmcp-broker.socket"
	serviceUnit = "fjmcp-broker.service"
)

// units enables the socket, and restarts a broker that began with other files.
func (s *setup) units(ctx context.Context, changed bool) error {
	if s.Systemctl == nil {
		return nil
	}
	// Both end with a failure for "no", which is an answer.
	enabled, _ := s.Systemctl(ctx, "is-enabled", socketUnit)
	active, _ := s.Systemctl(ctx, "is-active", socketUnit)
	if enabled != "enabled" || active != "active" {
		if s.DryRun {
			s.say("would enable and start %s", socketUnit)
		} else if err := s.systemctl(ctx, "Enabling "+socketUnit, "enable", "--now", socketUnit); err != nil {
			return err
		}
	} else {
		s.say("unchanged: %s is enabled", socketUnit)
	}
	running, stale, err := s.broker(ctx)
	switch {
	case err != nil:
		return err
	case !running || !changed && !stale:
		return nil
	case s.DryRun:
		s.say("would restart %s", serviceUnit)
		return nil
	}
	return s.systemctl(ctx, "Restarting the broker, which waits for calls in flight", "restart", serviceUnit)
}

// broker tells whether it runs, and has begun before its files were written, as after a
// run that was cut off.
func (s *setup) broker(ctx context.Context) (running, stale bool, err error) {
	out, err := s.Systemctl(ctx, "show", "--timestamp=unix", "--property=ActiveState,ActiveEnterTimestamp", serviceUnit)
	if err != nil {
		return false, false, fmt.Errorf("cannot ask systemd for %s: %w", serviceUnit, err)
	}
	var began int64
	for line := range strings.Lines(out) {
		switch name, value, _ := strings.Cut(strings.TrimSpace(line), "="); name {
		case "ActiveState":
			running = value == "active" || value == "activating" || value == "reloading"
		case "ActiveEnterTimestamp":
			began, _ = strconv.ParseInt(strings.TrimPrefix(value, "@"), 10, 64)
		}
	}
	for _, name := range []string{settingsFile, s.secretAt()} {
		if info, err := os.Stat(s.files.at(name)); err == nil && info.ModTime().Unix() > began {
			stale = true
		}
	}
	return running, stale, nil
}

func (s *setup) systemctl(ctx context.Context, what string, args ...string) error {
	return s.during(what, func() error {
		out, err := s.Systemctl(ctx, args...)
		if err != nil {
			return fmt.Errorf("systemctl %s: %w: %s\nhint: the files are written; when that is mended, repeat this command", strings.Join(args, " "), err, out)
		}
		return nil
	})
}
