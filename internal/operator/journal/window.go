package journal

import (
	"iter"
	"time"
)

// window hands on those of all that are in the range, and tells of those that are missing
// among all. before is the last event before all, if one is known.
func (r Range) window(before Event, all iter.Seq2[Event, error]) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		var last Event // that was read
		if !r.Reverse {
			last = before
		}
		for e, err := range all {
			if err != nil {
				yield(e, err)
				return
			}
			older, newer := last, e
			if r.Reverse {
				older, newer = e, last
			}
			r.tell(older, newer)
			if e.Run == "" || e.Run != last.Run || older.Number < newer.Number { // else a clock was set back
				last = e
			}
			if !r.has(e.Time) {
				continue
			}
			if !yield(e, nil) {
				return
			}
		}
		if r.Reverse {
			r.tell(before, last)
		}
	}
}

func (r Range) has(t time.Time) bool {
	return !t.Before(r.Since) && (r.Until.IsZero() || !t.After(r.Until))
}

// tell tells of what is missing between two events that stand side by side.
func (r Range) tell(older, newer Event) {
	if r.Missing == nil || newer.Number == 0 {
		return
	}
	n := newer.Number - 1
	if sameRun(older, newer) {
		n = newer.Number - older.Number - 1
	}
	if n > 0 && !newer.Time.Before(r.Since) && (r.Until.IsZero() || !older.Time.After(r.Until)) {
		r.Missing(n, older.Time, newer.Time)
	}
}

// sameRun reports whether two events are of one run of the broker. Lines do not tell the
// run: there a number that does not grow begins another.
func sameRun(older, newer Event) bool {
	return older.Run == newer.Run && (older.Run != "" || older.Number > 0 && older.Number < newer.Number)
}
