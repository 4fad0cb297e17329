package httpserver

import (
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// Preference is what a request would rather have than the other: a page or JSON.
type Preference int

// Preferences. Either is that of a request that does not say, or wants both alike, such as
// one with Accept: */*.
const (
	Either Preference = iota
	JSON
	HTML
)

// Prefers reads the Accept header of r (RFC 9110 §12.5.1). Of two that weigh the same the
// one that is named more exactly wins, then the first one. What is not of the header's form
// is left out. Who accepts an event stream is a program.
func Prefers(r *http.Request) Preference {
	var html, json weight
	for at, item := range mediaRanges(strings.Join(r.Header.Values("Accept"), ",")) {
		t, params, err := mime.ParseMediaType(item)
		q, ok := quality(params)
		if err != nil || !ok {
			continue
		}
		if t == "text/event-stream" && q > 0 {
			return JSON
		}
		html.see(t == "text/html", t == "text/*", t == "*/*", q, at)
		json.see(t == "application/json" || strings.HasSuffix(t, "+json"), t == "application/*", t == "*/*", q, at)
	}
	switch {
	case html.over(json):
		return HTML
	case json.over(html):
		return JSON
	}
	return Either
}

// weight is what a header says of one media type, by the most exact of its ranges.
type weight struct {
	q     float64 // 0 to 1
	exact int     // 3 where it is named, 2 of its kind, 1 of all, 0 where nothing is said
	at    int     // which range says so
}

func (w *weight) see(named, kind, any bool, q float64, at int) {
	exact := 0
	switch {
	case named:
		exact = 3
	case kind:
		exact = 2
	case any:
		exact = 1
	}
	if exact > w.exact || exact > 0 && exact == w.exact && q > w.q {
		*w = weight{q, exact, at}
	}
}

func (w weight) over(other weight) bool {
	switch {
	case w.q != other.q:
		return w.q > other.q
	case w.exact != other.exact:
		return w.q > 0 && w.exact > other.exact
	}
	return w.q > 0 && w.at < other.at
}

// mediaRanges splits at the commas that stand in no quoted string (RFC 9110 §5.6.1).
func mediaRanges(accept string) []string {
	quoted, escaped := false, false
	return strings.FieldsFunc(accept, func(c rune) bool {
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		}
		return c == ',' && !quoted
	})
}

// qvalue is that of RFC 9110 §12.4.2.
var qvalue = regexp.MustCompile(`^(0(\.[0-9]{0,3})?|1(\.0{0,3})?)$`)

// quality is the weight that params give, 1 if none.
func quality(params map[string]string) (q float64, ok bool) {
	text, given := params["q"]
	if !given {
		return 1, true
	}
	if !qvalue.MatchString(text) {
		return 0, false
	}
	q, err := strconv.ParseFloat(text, 64)
	return q, err == nil
}
