package front

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
)

type words struct{ title, text string }

// told is what people are told by a status that a program would read. Below 100 is a class
// of them: what is told by the rest.
var told = map[int]words{
	http.StatusBadRequest:            {"Not understood", "This address was opened in a way that this server does not understand."},
	http.StatusUnauthorized:          {"This address is for MCP clients", "Nothing is wrong, but there is nothing to see here. Give this address to an application that speaks MCP, such as Claude, VS Code or Cursor. It will bring you back here to log in."},
	http.StatusForbidden:             {"Not allowed", "This server does not let you do this."},
	http.StatusNotFound:              {"There is nothing here", "Either the address is mistyped, or what was here is gone."},
	http.StatusMethodNotAllowed:      {"This address is for programs", "It is not a page. An application uses it in another way than a browser does."},
	http.StatusRequestEntityTooLarge: {"Too large", "More was sent than this server takes at once. Nothing was changed."},
	http.StatusTooManyRequests:       {"Please wait a moment", "There were too many requests from your network."},
	http.StatusServiceUnavailable:    {"Not available at the moment", "This server is being restarted or looked after, or cannot start. Try again in a minute. Whoever runs it finds the cause with: fjmcpctl doctor"},
	4:                                {"This cannot be done", "This address was opened in a way that this server does not take."},
	5:                                {"Something went wrong here", "The server cannot answer at the moment. Try again in a minute."},
}

// Pages has next tell people by a page what it tells programs by a status of 400 or above:
// where a browser goes to an address and would rather have HTML, and next does not answer
// with a page of its own. Status and other headers stay as they are.
func Pages(next http.Handler, f pages.Frame) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if navigates(r) && httpserver.Prefers(r) == httpserver.HTML {
			w = &answer{ResponseWriter: w, frame: f}
		}
		next.ServeHTTP(w, r)
	})
}

// navigates reports whether r is of a form that browsers go to an address with: they look,
// or send a form.
func navigates(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return true
	case http.MethodPost:
		t, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
		return slices.Contains([]string{"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"}, strings.TrimSpace(t))
	}
	return false
}

// answer writes a page in place of what tells a program of an error.
type answer struct {
	http.ResponseWriter
	frame    pages.Frame
	begun    bool
	replaced bool // the body is dropped
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	h := a.Header()
	if a.begun || status < http.StatusBadRequest || strings.HasPrefix(h.Get("Content-Type"), "text/html") {
		a.begun = a.begun || status >= http.StatusOK
		a.ResponseWriter.WriteHeader(status)
		return
	}
	a.begun, a.replaced = true, true
	h.Del("Content-Length")
	h.Add("Vary", "Accept")
	_ = message(status, h.Get("Retry-After"), a.frame.Home).Write(a.ResponseWriter, a.frame) // else the browser has left
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	if !a.begun {
		a.WriteHeader(http.StatusOK)
	}
	if a.replaced {
		return len(b), nil
	}
	return a.ResponseWriter.Write(b)
}

// message tells of a status. wait is in seconds, "" for none.
func message(status int, wait, home string) pages.Message {
	w, known := told[status]
	if !known {
		w = told[status/100]
	}
	m := pages.Message{Status: status, Title: w.title, Text: w.text}
	if seconds, err := strconv.Atoi(wait); err == nil && status == http.StatusTooManyRequests {
		m.Text += " Try again in " + duration(seconds) + "."
	}
	if home != "" {
		m.Actions = []pages.Action{pages.Link("How to connect an application", home+"/")}
	}
	return m
}

// duration says seconds, at least one, in words.
func duration(seconds int) string {
	n, unit := max(seconds, 1), " second"
	if n > 90 {
		n, unit = (n+59)/60, " minute"
	}
	if n > 1 {
		unit += "s"
	}
	return strconv.Itoa(n) + unit
}
