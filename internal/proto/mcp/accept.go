package mcp

import (
	"mime"
	"net/http"
	"strings"
)

// Media types of Streamable HTTP.
const (
	TypeJSON        = "application/json"
	TypeEventStream = "text/event-stream"
)

// Accepts reports whether the Accept header allows one of the media types, by name
// or by a wildcard. A request without the header allows all (RFC 9110 §12.5.1).
// Preferences are not looked at, but for a weight of 0.
func Accepts(h http.Header, types ...string) bool {
	accept := strings.Join(h.Values("Accept"), ",")
	if accept == "" {
		return true
	}
	for item := range strings.SplitSeq(accept, ",") {
		pattern, params, err := mime.ParseMediaType(item)
		if err != nil || weightless(params["q"]) {
			continue
		}
		for _, t := range types {
			kind, _, _ := strings.Cut(t, "/")
			if pattern == t || pattern == kind+"/*" || pattern == "*/*" {
				return true
			}
		}
	}
	return false
}

func weightless(q string) bool { return q != "" && strings.Trim(q, "0.") == "" }
