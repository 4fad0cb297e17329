package journal

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// units of a time span, as in systemd.time(7), months and years of mean length among them.
var units = map[string]time.Duration{
	"us": time.Microsecond, "usec": time.Microsecond, "µs": time.Microsecond,
	"ms": time.Millisecond, "msec": time.Millisecond,
	"": time.Second, "s": time.Second, "sec": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hour": time.Hour, "hours": time.Hour,
	"d": day, "day": day, "days": day,
	"w": 7 * day, "week": 7 * day, "weeks": 7 * day,
	"M": 2629800 * time.Second, "month": 2629800 * time.Second, "months": 2629800 * time.Second,
	"y": 31557600 * time.Second, "year": 31557600 * time.Second, "years": 31557600 * time.Second,
}

const day = 24 * time.Hour

var (
	spanPart = regexp.MustCompile(`^\s*(\d+(?:\.\d+)?)\s*([a-zµA-Z]*)`)
	layouts  = []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02", "2006-01-02T15:04:05"}
	clocks   = []string{"15:04:05", "15:04"}
)

// ParseTime reads a time as journalctl's --since takes it (systemd.time(7)): a date, a
// time of today, both, with UTC behind it or in local time; RFC 3339; now, today,
// yesterday, tomorrow; a span before or after now, such as -7d, "2 hours ago" or +5min;
// seconds since 1970, such as @1764500000.
func ParseTime(text string, now time.Time) (time.Time, error) {
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	switch text = strings.TrimSpace(text); text {
	case "now":
		return now, nil
	case "today":
		return midnight, nil
	case "yesterday":
		return midnight.AddDate(0, 0, -1), nil
	case "tomorrow":
		return midnight.AddDate(0, 0, 1), nil
	}
	if seconds, ok := strings.CutPrefix(text, "@"); ok {
		if n, err := strconv.ParseFloat(seconds, 64); err == nil && n >= 0 && n < 1<<36 {
			return time.UnixMicro(int64(n * 1e6)), nil
		}
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	if d, ok := relative(text); ok {
		return now.Add(d), nil
	}
	if t, ok := absolute(text, now); ok {
		return t, nil
	}
	return time.Time{}, fmt.Errorf(`%q is no time: give one such as "2026-11-30 08:00", 2026-11-30, 08:00, today, yesterday, -7d, "2 hours ago" or 2026-11-30T08:00:00Z`, text)
}

func relative(text string) (time.Duration, bool) {
	if before, ok := strings.CutSuffix(text, " ago"); ok {
		d, ok := span(before)
		return -d, ok
	}
	if after, ok := strings.CutPrefix(text, "+"); ok {
		return span(after)
	}
	if before, ok := strings.CutPrefix(text, "-"); ok {
		d, ok := span(before)
		return -d, ok
	}
	return 0, false
}

// span reads such as 1h30min or "2 days".
func span(text string) (sum time.Duration, ok bool) {
	for rest := strings.TrimSpace(text); rest != ""; ok = true {
		m := spanPart.FindStringSubmatch(rest)
		if m == nil {
			return 0, false
		}
		unit, known := units[m[2]]
		n, err := strconv.ParseFloat(m[1], 64)
		d := n * float64(unit)
		if !known || err != nil || d+float64(sum) > float64(200*units["y"]) {
			return 0, false
		}
		sum += time.Duration(d)
		rest = strings.TrimSpace(rest[len(m[0]):])
	}
	return sum, ok
}

func absolute(text string, now time.Time) (time.Time, bool) {
	if inUTC, ok := strings.CutSuffix(text, " UTC"); ok {
		text, now = inUTC, now.UTC()
	}
	for _, layout := range layouts {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, true
		}
	}
	for _, layout := range clocks {
		if t, err := time.Parse(layout, text); err == nil {
			return time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), 0, now.Location()), true
		}
	}
	return time.Time{}, false
}
