package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Clients of every kind come, work and go, tidily or not. What the broker has in
// memory and in descriptors does not grow with them.
func TestE2ESoak(t *testing.T) {
	length := soakTime(t)
	s := enabled(t, standin(t), map[string]string{
		"FJMCP_BROKER_SESSION_IDLE_TIMEOUT": "5s", "FJMCP_BROKER_SESSION_MAX_AGE": "10m",
		"FJMCP_BROKER_SESSIONS_PER_USER": "100", "FJMCP_BROKER_SESSIONS_MAX": "200", "FJMCP_BROKER_CALLS_PER_MINUTE": "0",
	})
	ctx, stop := context.WithTimeout(t.Context(), length)
	defer stop()
	var clients sync.WaitGroup
	visits := make([]int, len(visitors))
	for i, v := range visitors {
		access := logIn(t, s, []string{"alice", "bob"}[i%2]).Access
		clients.Go(func() {
			for ctx.Err() == nil {
				c := newRaw(s, access)
				if err := v.visit(t.Context(), c); err != nil {
					t.Errorf("%s: %v", v.name, err)
					return
				}
				c.http.CloseIdleConnections()
				visits[i]++
			}
		})
	}
	sizes := watch(ctx, t, s)
	clients.Wait()
	for i, v := range visitors {
		t.Logf("%d visits of %s", visits[i], v.name)
		if visits[i] < 3 {
			t.Errorf("only %d visits of %s", visits[i], v.name)
		}
	}
	// The first third is warming up; of the rest the beginning is held against the end.
	rest := sizes[len(sizes)/3:]
	first, last := middle(rest[:len(rest)/2]), middle(rest[len(rest)/2:])
	t.Logf("from %+v to %+v in %d looks", first, last, len(sizes))
	if last.files > first.files+20 {
		t.Errorf("descriptors beside those of running units grew from %d to %d", first.files, last.files)
	}
	// Go gives memory back late, and a dormant session has a little until it ends.
	if last.kilobytes > first.kilobytes*5/4+8<<10 {
		t.Errorf("memory grew from %d to %d KB", first.kilobytes, last.kilobytes)
	}
	nothingLeft(t, s)
}

// soakTime is $FJMCP_SOAK, some 45 seconds without.
func soakTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("FJMCP_SOAK")
	if text == "" {
		return 45 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 10*time.Second {
		t.Fatalf("FJMCP_SOAK=%q: want a duration from 10s on", text)
	}
	return d
}

// size is what the broker has at one moment. How many units run depends on how fast
// the machine is at that moment, so the three descriptors of each are not in files.
type size struct{ files, kilobytes, units int }

// look prints a size of the process that is its first argument.
const look = `
ls /proc/$0/fd | wc -l
awk '/^RssAnon:/ {print $2}' /proc/$0/status
systemctl list-units --plain --no-legend 'fjmcp-session@*.service' | wc -l
`

// watch looks at the broker's size until ctx ends.
func watch(ctx context.Context, t *testing.T, s *System) (sizes []size) {
	t.Helper()
	pid := mainPID(t, s)
	for ctx.Err() == nil {
		var at size
		out := run(t, s, "sh", "-c", look, pid)
		if _, err := fmt.Sscan(out, &at.files, &at.kilobytes, &at.units); err != nil {
			t.Fatalf("the broker's size: %q: %v", out, err)
		}
		at.files -= 3 * at.units
		sizes = append(sizes, at)
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond): // how often it is looked at
		}
	}
	return sizes
}

// middle is the median of each.
func middle(sizes []size) size {
	median := func(of func(size) int) int {
		var all []int
		for _, s := range sizes {
			all = append(all, of(s))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	return size{
		files: median(func(s size) int { return s.files }), kilobytes: median(func(s size) int { return s.kilobytes }),
		units: median(func(s size) int { return s.units }),
	}
}

// visitors are kinds of clients.
var visitors = []struct {
	name  string
	visit func(context.Context, *raw) error
}{
	{"a client that says DELETE", func(ctx context.Context, c *raw) error {
		return errors.Join(c.begin(ctx), c.work(ctx), c.work(ctx), c.end(ctx))
	}},
	{"a client that does not", func(ctx context.Context, c *raw) error {
		return errors.Join(c.begin(ctx), c.work(ctx))
	}},
	{"a client with its stream open", func(ctx context.Context, c *raw) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		err := c.begin(ctx)
		if err == nil {
			err = c.listen(ctx, http.MethodGet, "")
		}
		return errors.Join(err, c.work(ctx))
	}},
	{"ChatGPT", func(ctx context.Context, c *raw) error { // calls without the session it has begun
		err := c.begin(ctx)
		c.session = ""
		return errors.Join(err, c.work(ctx))
	}},
	{"a client of 2026-07-28", func(ctx context.Context, c *raw) error {
		c.modern = true
		return c.work(ctx)
	}},
	{"a client of HTTP+SSE", visitSSE},
}

// work makes a call with progress.
func (c *raw) work(ctx context.Context) error {
	_, err := c.tool(ctx, 1, "slow", map[string]any{"ms": 100, "steps": 2})
	return err
}

// visitSSE opens a stream, calls, and leaves.
func visitSSE(ctx context.Context, c *raw) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := c.send(ctx, http.MethodGet, "/sse", "")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	in := bufio.NewScanner(resp.Body)
	next := func(want string) (string, error) {
		for in.Scan() {
			if data, ok := strings.CutPrefix(in.Text(), "data: "); ok && strings.Contains(data, want) {
				return data, nil
			}
		}
		return "", fmt.Errorf("the stream ended before %s: %v", want, in.Err())
	}
	endpoint, err := next("/messages?")
	if err != nil {
		return err
	}
	for i, message := range []string{initialize, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, toolCall(1, "slow", map[string]any{"ms": 100, "steps": 2})} {
		resp, err := c.send(ctx, http.MethodPost, endpoint, message)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusAccepted {
			return fmt.Errorf("message %d got %s", i, resp.Status)
		}
		if want := map[int]string{0: `"serverInfo"`, 2: "waited 100 ms"}[i]; want != "" {
			if _, err := next(want); err != nil {
				return err
			}
		}
	}
	return nil
}
