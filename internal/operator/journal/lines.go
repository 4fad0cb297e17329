package journal

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Lines are events that were read from lines, as a broker writes them on standard error
// where there is no journal. Nothing says who wrote a line: they are worth as much as the
// file that they are in.
type Lines []Event

// ReadLines reads all events of r, and passes over other lines, such as the broker's log.
func ReadLines(r io.Reader) (all Lines, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if e, ok := parseLine(lines.Text()); ok {
			all = append(all, e)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("cannot read the lines: %w", err)
	}
	return all, nil
}

// Events is that of Journal, without Follow and After.
func (l Lines) Events(_ context.Context, r Range) iter.Seq2[Event, error] {
	return r.window(Event{}, func(yield func(Event, error) bool) {
		order := slices.Values(l)
		if r.Reverse {
			order = func(yield func(Event) bool) {
				for _, e := range slices.Backward(l) {
					if !yield(e) {
						return
					}
				}
			}
		}
		for e := range order {
			if !yield(e, nil) {
				return
			}
		}
	})
}

// parseLine reads a line of slog's text handler that the audit wrote.
func parseLine(line string) (e Event, ok bool) {
	for i := 0; line != ""; i++ {
		name, rest, found := strings.Cut(line, "=")
		if !found {
			return e, false
		}
		value, rest, _ := strings.Cut(rest, " ")
		if quoted, err := strconv.QuotedPrefix(line[len(name)+1:]); err == nil {
			rest = strings.TrimPrefix(line[len(name)+1+len(quoted):], " ")
			if value, err = strconv.Unquote(quoted); err != nil {
				return e, false
			}
		}
		line = rest
		var err error
		switch i {
		case 0:
			ok = name == "time"
			e.Time, err = time.Parse(time.RFC3339Nano, value)
		case 1:
			ok = name == "level"
			e.Failed = value == "WARN" || value == "ERROR"
		case 2:
			ok = name == "msg" && value == "audit"
		case 3:
			ok = name == "FJMCP_EVENT"
			fallthrough
		default:
			err = e.set(name, value)
		}
		if !ok || err != nil {
			return e, false
		}
	}
	return e, e.Kind != ""
}

// Begins is zero: nobody knows since when there were lines.
func (l Lines) Begins(context.Context) (time.Time, error) { return time.Time{}, nil }

// Doubts has none that the events themselves do not tell of.
func (l Lines) Doubts() []string { return nil }
