package httpserver

import (
	"net/http"
	"strings"
	"testing"
)

// Those of browsers and clients are as they send them.
func TestPrefers(t *testing.T) {
	for accept, want := range map[string]Preference{
		"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7": HTML, // Chromium
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8":                                                                         HTML, // Firefox, Safari
		"application/json, text/event-stream": JSON, // an MCP client's POST
		"text/event-stream, application/json": JSON,
		"text/event-stream":                   JSON, // its GET, and a page's EventSource
		"text/html, text/event-stream;q=0.1":  JSON,
		"application/json":                    JSON,
		"application/json, text/plain, */*":   JSON, // a page's script
		"application/problem+json":            JSON,
		"*/*":                                 Either, // curl
		"":                                    Either,
		"text/plain":                          Either,
		"image/avif,image/webp,*/*;q=0.8":     Either, // a browser's for an icon
		"text/html":                           HTML,
		"TEXT/HTML ; Q=1":                     HTML,
		"text/html, application/json":         HTML, // the first of two
		"application/json, text/html":         JSON,
		"text/html;q=0.5, application/json":   JSON,
		"text/html, application/json;q=0.9":   HTML,
		"application/json;q=0.9, text/html":   HTML,
		"text/html;q=0.5, */*;q=0.8":          JSON, // the rest is wanted more
		"text/html;q=0, */*":                  JSON,
		"application/json;q=0, */*":           HTML,
		"text/html;q=0":                       Either,
		"text/html;q=0, application/json;q=0": Either,
		"text/*, application/json;q=0.5":      HTML,
		"text/*":                              HTML,
		"text/*, application/*":               HTML, // the first, again
		"application/*, text/html;q=1.000":    HTML, // which is named
		"text/html;q=0.9, text/html;q=0.1, application/json;q=0.5": HTML,
		"text/html;level=1;q=0.4, application/json;q=0.3":          HTML,

		// Not of the form: left out.
		"text/html;q=2, application/json;q=0.1":     JSON,
		"text/html;q=-1, application/json;q=0.1":    JSON,
		"text/html;q=0.1234":                        Either,
		"text/html;q=.5":                            Either,
		"text/html;q=NaN":                           Either,
		"text/html;q=":                              Either,
		"text/html;;q=1, application/json;q=0.1":    JSON,
		`text/plain;x=", text/html,"`:               Either, // a comma in a quoted string
		`text/plain;x="\", text/html,"`:             Either,
		`text/plain;x="a", text/html`:               HTML,
		`text/plain;x="`:                            Either,
		"text/html/x":                               Either,
		",,, ,text/html,,":                          HTML,
		strings.Repeat("a/b,", 10000) + "text/html": HTML,
	} {
		if got := Prefers(&http.Request{Header: http.Header{"Accept": {accept}}}); got != want {
			t.Errorf("%.80q: %d, want %d", accept, got, want)
		}
	}
	if got := Prefers(&http.Request{Header: http.Header{"Accept": {"application/json;q=0.1", "text/html"}}}); got != HTML {
		t.Errorf("two headers: %d", got)
	}
}

func FuzzPrefers(f *testing.F) {
	for _, seed := range []string{"", "*/*", "text/html", "application/json, text/event-stream", `a/b;x="\",", text/html;q=0.3`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		prefers := func(accept string) Preference {
			return Prefers(&http.Request{Header: http.Header{"Accept": {accept}}})
		}
		got := prefers(accept)
		if lower := strings.ToLower(accept); got == HTML && !strings.Contains(lower, "text/") && !strings.Contains(lower, "*/*") {
			t.Errorf("%q is read as one for a page", accept)
		}
		// Whatever else it says, an MCP client is one.
		if prefers("application/json, text/event-stream, "+accept) != JSON {
			t.Errorf("an MCP client that also says %q is taken for a browser", accept)
		}
		// What is not of the form changes nothing.
		if strings.Count(accept, `"`) == 0 && prefers("text/html;q=7, "+accept+", , application/json;q=x") != got {
			t.Errorf("%q: another preference beside what is left out", accept)
		}
	})
}
