package forgeapi

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

var errPath = errors.New("the path can be read in several ways")

var escape = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

// split reads the escaped path (url.URL.EscapedPath) as every server between here and the
// forge's router reads it, whether or not it unescapes, resolves dot segments, merges
// slashes or takes a backslash for a slash: a path that such a server may read otherwise
// is an error. path has the segments unescaped, in which slashes were escaped; flat has
// them with these as slashes, too.
func split(escaped string) (path, flat []string, err error) {
	rest, ok := strings.CutPrefix(escaped, "/")
	if !ok || strings.ContainsAny(rest, `\;`) {
		return nil, nil, errPath
	}
	if rest = strings.TrimSuffix(rest, "/"); rest == "" { // the forge does the same
		return nil, nil, nil
	}
	for s := range strings.SplitSeq(rest, "/") {
		s, err := url.PathUnescape(s)
		if err != nil || !utf8.ValidString(s) || strings.Contains(s, "%") && escape.MatchString(s) || strings.ContainsFunc(s, ambiguous) {
			return nil, nil, errPath
		}
		path = append(path, s)
		for part := range strings.SplitSeq(s, "/") {
			if part == "" || part == "." || part == ".." {
				return nil, nil, errPath
			}
			flat = append(flat, part)
		}
	}
	return path, flat, nil
}

func ambiguous(r rune) bool { return r == '\\' || unicode.IsControl(r) }
