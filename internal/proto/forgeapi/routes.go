package forgeapi

import (
	_ "embed"
	"strings"
	"sync"
)

// Root is the path below which the API lies.
const Root = "/api/v1"

// Classes that say more than what a route touches.
const (
	ClassUpload = "upload" // takes a file as multipart/form-data
	ClassGit    = "git"    // git over HTTP
	ClassLFS    = "lfs"    // git's large files
)

//go:embed routes.tsv
var table string

// Route is a line of the table.
type Route struct {
	Method string // GET stands for HEAD, too
	Path   string // as the package's comment says
	Class  string
	Open   bool     // unless a Policy says otherwise
	Names  string   // words of the package's comment
	Tools  []string // names of each Tool that uses it
}

// Routes returns the whole table.
func Routes() []Route {
	var all []Route
	for line := range strings.Lines(table) {
		all = append(all, parse(line))
	}
	return all
}

// line is one of the table, cut up.
type line struct {
	method, template, class string
	open                    bool
	names                   string // words of the package's comment
	tools                   string
}

func cut(text string) (l line) {
	var open string
	text = strings.TrimSuffix(text, "\n")
	l.method, text, _ = strings.Cut(text, "\t")
	l.template, text, _ = strings.Cut(text, "\t")
	l.class, text, _ = strings.Cut(text, "\t")
	open, text, _ = strings.Cut(text, "\t")
	l.names, l.tools, _ = strings.Cut(text, "\t")
	l.open = open == wordOpen
	return l
}

func (l line) route() Route {
	return Route{Method: l.method, Path: l.template, Class: l.class, Open: l.open, Names: l.names, Tools: strings.Fields(l.tools)}
}

// wider reports whether each path that other's template may stand for is one that l's may.
func (l line) wider(other line) bool {
	return matches(l.template, strings.Split(other.template[1:], "/"))
}

func parse(text string) Route { return cut(text).route() }

// shape is what routes that one path may match have in common. segments is 0 where a
// parameter stands for several.
type shape struct {
	method   string
	segments int
	family   string
}

// family is a segment that tells most routes apart; "" where it is a parameter.
func family(path []string) string {
	at := 2
	if len(path) > 5 && path[at] == "repos" {
		at = 5
	}
	if len(path) <= at || path[at][0] == '{' {
		return ""
	}
	return path[at]
}

// byShape holds the table's lines. Each session has this in memory, so it is no more
// than that.
var byShape = sync.OnceValue(func() map[shape][]string {
	m := make(map[shape][]string)
	for line := range strings.Lines(table) {
		method, path, _ := strings.Cut(line, "\t")
		path, _, _ = strings.Cut(path, "\t")
		segments := strings.Split(path[1:], "/")
		s := shape{method, len(segments), family(segments)}
		if strings.HasSuffix(path, "...}") {
			s.segments = 0
		}
		m[s] = append(m[s], line)
	}
	return m
})

// matching calls yield with each line for method that the path matches.
func matching(method string, path []string, yield func(line)) {
	if method == "HEAD" {
		method = "GET"
	}
	own := family(path)
	for _, s := range []shape{{method, len(path), own}, {method, 0, own}, {method, len(path), ""}, {method, 0, ""}} {
		for _, text := range byShape()[s] {
			template := text[len(method)+1:]
			if matches(template[:strings.IndexByte(template, '\t')], path) {
				yield(cut(text))
			}
		}
		if own == "" && s.segments == 0 {
			break // the rest is the same
		}
	}
}

// matches: for a template outside the API the first segment is an owner, which may not
// have the name of an API.
func matches(template string, path []string) bool {
	for rest, more := template[1:], true; more; {
		var want string
		want, rest, more = strings.Cut(rest, "/")
		if len(path) == 0 {
			return false
		}
		switch param := want[0] == '{'; {
		case !param && want != path[0],
			want == "{owner}" && (path[0] == "api" || path[0] == "v2") && strings.HasPrefix(template, "/{"):
			return false
		case param && strings.HasSuffix(want, "...}"):
			if !more {
				return true
			}
		case param && strings.Contains(path[0], "/"):
			return false
		}
		path = path[1:]
	}
	return len(path) == 0
}
