package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strings"
)

//go:embed templates
var files embed.FS

var (
	style     = mustRead("templates/style.css")
	templates = template.Must(template.New("").Funcs(template.FuncMap{
		"style": func() template.CSS { return template.CSS(style) },
	}).ParseFS(files, "templates/*.html"))
	policy = contentPolicy(style)
)

func mustRead(name string) string {
	b, err := files.ReadFile(name)
	if err != nil {
		panic(err) // the file is embedded at build time
	}
	return string(b)
}

// contentPolicy allows our own style and nothing else. It has no form-action:
// Chromium and Safari apply that to the whole redirect chain of a form, which
// ends at the client, maybe on a custom scheme.
func contentPolicy(style string) string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; frame-ancestors 'none'"
}

// Field is a hidden form field.
type Field struct{ Name, Value string }

// Consent is the page that asks before the user is sent to the forge.
type Consent struct {
	Client       string   // as the client calls itself; shown as unverified
	Forge        string   // host of the forge
	RedirectHost string   // where the browser ends up
	Loopback     bool     // that is a program on the user's own machine
	Permissions  []string // what is asked for, in words
	Action       string   // URL the form is sent to
	Fields       []Field  // hidden
}

// Title is the heading and window title.
func (c Consent) Title() string { return "Connect " + c.Client + "?" }

// WriteConsent renders the consent page.
func WriteConsent(w http.ResponseWriter, c Consent) error {
	return write(w, http.StatusOK, "consent.html", c)
}

// Action is a link shown as a button.
type Action struct {
	Label string
	URL   template.URL // trusted: the caller has checked its scheme
}

// Message tells what happened and what can be done about it.
type Message struct {
	Status  int // HTTP status
	Title   string
	Text    string
	Actions []Action // the first is the recommended one
}

// WriteMessage renders a message.
func WriteMessage(w http.ResponseWriter, m Message) error {
	return write(w, m.Status, "message.html", m)
}

func write(w http.ResponseWriter, status int, name string, data any) error {
	var page bytes.Buffer
	if err := templates.ExecuteTemplate(&page, name, data); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin") // with no-referrer, forms would send "Origin: null"
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, err := w.Write(page.Bytes())
	return err
}

// PrefersJSON reports whether a request is a program's rather than a browser's:
// its Accept names JSON, and HTML not before it.
func PrefersJSON(r *http.Request) bool {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	json := strings.Index(accept, "json")
	html := strings.Index(accept, "text/html")
	return json >= 0 && (html < 0 || json < html)
}
