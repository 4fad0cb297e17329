package denypath

import (
	"net/url"
	"slices"
	"strings"
)

// maxReadings bounds the ways in which one path is read. A path with more is
// made to be misread.
const maxReadings = 64

// Denies reports whether a request for the escaped path (url.URL.EscapedPath) may
// reach a denied one. prefix is the path below which the forge lives, "" or
// "/x".
//
// Between us and the forge's router stand an unknown number of servers, each of
// which may or may not unescape the path, resolve dot segments, merge slashes,
// take a backslash for a slash, or fold case. So the path is denied if any order
// of these leads to a denied one.
func (l List) Denies(prefix, escaped string) bool {
	if len(l.patterns) == 0 {
		return false
	}
	root := append(split(strings.ToLower(prefix)), "api", "v1")
	seen := []string{strings.ToLower(escaped)}
	for i := 0; i < len(seen); i++ {
		if i == maxReadings {
			return true
		}
		path := split(seen[i])
		if len(path) >= len(root) && slices.Equal(path[:len(root)], root) && l.covers(path[len(root):]) {
			return true
		}
		for _, next := range []string{join(path), join(resolve(path)), unescape(seen[i])} {
			if !slices.Contains(seen, next) {
				seen = append(seen, next)
			}
		}
	}
	return false
}

// split cuts a path into its segments, leaving out empty ones and single dots.
func split(path string) []string {
	return slices.DeleteFunc(strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '\\' }),
		func(segment string) bool { return segment == "." })
}

func join(segments []string) string { return "/" + strings.Join(segments, "/") }

// resolve removes double-dot segments with what they undo (RFC 3986 §5.2.4).
func resolve(segments []string) []string {
	var out []string
	for _, s := range segments {
		switch {
		case s != "..":
			out = append(out, s)
		case len(out) > 0:
			out = out[:len(out)-1]
		}
	}
	return out
}

// unescape undoes one layer of percent-encoding, escape by escape, so that a
// faulty one does not protect the others. The result is in lower case.
func unescape(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+3 <= len(path) {
			if c, err := url.PathUnescape(path[i : i+3]); err == nil {
				b.WriteString(c)
				i += 2
				continue
			}
		}
		b.WriteByte(path[i])
	}
	return strings.ToLower(b.String())
}
