package session

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

func TestLogLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l logLevel
		var told []string
		var fail error
		tell := func(_ context.Context, level string) error {
			told = append(told, level)
			return fail
		}
		silent := func(ctx context.Context, level string) error {
			told = append(told, level)
			<-ctx.Done()
			return ctx.Err()
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		for _, step := range []struct {
			name string
			do   func() error
			err  error
			want []string
		}{
			{"before there is a backend", func() error { return l.ask(t.Context(), "error") }, nil, nil},
			{"the first backend", func() error { return l.attach(t.Context(), tell) }, nil, []string{"error"}},
			{"a higher level", func() error { return l.ask(t.Context(), "alert") }, nil, nil},
			{"a lower level", func() error { return l.ask(t.Context(), "info") }, nil, []string{"info"}},
			{"a backend that ends", func() error { fail = relay.ErrClosed; return l.ask(t.Context(), "debug") }, nil, []string{"debug"}},
			{"the next backend", func() error { fail = nil; return l.attach(t.Context(), tell) }, nil, []string{"debug"}},
			{"one that refuses", func() error { fail = unit.ErrRefused; return l.attach(t.Context(), tell) }, nil, []string{"debug"}},
			{"it again", func() error { return l.ask(t.Context(), "debug") }, nil, nil},
			{"one that takes none", func() error { return l.attach(t.Context(), nil) }, nil, nil},
			{"one that is silent", func() error { return l.attach(t.Context(), silent) }, nil, []string{"debug"}},
			{"it again", func() error { return l.ask(t.Context(), "debug") }, nil, nil},
			{"a client that leaves", func() error { return l.attach(gone, silent) }, context.Canceled, []string{"debug"}},
		} {
			told = nil
			if err := step.do(); !errors.Is(err, step.err) || !slices.Equal(told, step.want) {
				t.Errorf("%s: told %q, %v; want %q, %v", step.name, told, err, step.want, step.err)
			}
		}
	})
}
