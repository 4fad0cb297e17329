// Package pages renders what people see in a browser: pages that ask for consent or
// say what happened and what to do next. Plain HTML from embedded templates, no
// script; light and dark follow the system.
package pages

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Page is what can be shown.
type Page interface {
	// Write renders the page in its frame and sends it.
	Write(w http.ResponseWriter, f Frame) error
}

// Frame is what all pages of a server have around them. What is "" is left out.
type Frame struct {
	Site     string       // name of this server
	Home     string       // URL of its front page, without a slash at its end
	Forge    string       // host of the forge
	ForgeURL template.URL // trusted: from the settings
}

// Field is a hidden form field.
type Field struct{ Name, Value string }

// Destination is where a client wants the browser to end up.
type Destination struct {
	Host  string // or scheme, of an app
	Kind  string // one of those below; else some https address
	Owner string // whose it is, of a known site or app
}

// Kinds of destination, as the template knows them.
const (
	KnownSite    = "known"    // that of a well-known client
	ThisComputer = "loopback" // a program that listens on loopback
	App          = "app"      // what the device opens for a scheme
)

// Part is a part of what the forge keeps.
type Part struct {
	Name  string // for people
	Write bool   // it can be changed, and not only read
}

// Consent is the page that asks before the user is sent to the forge.
type Consent struct {
	Client      string // as the client calls itself
	Publisher   string // host that published the client's description, if any
	Added       bool   // the operator has added the client, and its addresses
	Destination Destination
	Parts       []Part  // what is asked for
	ReadOnly    bool    // it asks to read only
	Reads       bool    // the server lets nobody do more
	Account     string  // URL of the account page
	Action      string  // URL the form is sent to
	Fields      []Field // hidden
}

// Title is the heading and window title.
func (c Consent) Title() string { return "Connect " + c.Client + "?" }

// Write implements Page.
func (c Consent) Write(w http.ResponseWriter, f Frame) error {
	return write(w, http.StatusOK, "consent.html", c, f)
}

// Device is where a user enters the code of a device.
type Device struct {
	Code   string // filled in
	Fault  string // of what was entered, if any
	Action string // URL the form is sent to
	Fields []Field
}

// Title is the heading and window title.
func (Device) Title() string { return "Connect a device" }

// Write implements Page.
func (d Device) Write(w http.ResponseWriter, f Frame) error {
	status := http.StatusOK
	if d.Fault != "" {
		status = http.StatusBadRequest
	}
	return write(w, status, "device.html", d, f)
}

// DeviceQuestion asks whether the user has started what a code is for.
type DeviceQuestion struct {
	Client     string // as it calls itself
	Publisher  string // host that published its description, if any
	Proof      string // one of those below; else it has proved nothing
	Code       string
	Address    string // that the device asked from; "" if that is not known
	Here       bool   // the browser's is the same
	Asked, Now time.Time
	Parts      []Part // as of Consent, as the rest
	ReadOnly   bool
	Reads      bool
	Account    string
	Action     string
	Fields     []Field
}

// What a device has proved, as the template knows it.
const (
	ProofSecret = "secret" // it has the secret of a client that the operator added
	ProofAdded  = "added"  // nothing; the operator added a client of that name
	ProofKey    = "key"    // it has the key that its publisher names
)

// Title is the heading and window title.
func (DeviceQuestion) Title() string { return "Did you start this?" }

// Write implements Page.
func (q DeviceQuestion) Write(w http.ResponseWriter, f Frame) error {
	return write(w, http.StatusOK, "question.html", q, f)
}

// Action is a link shown as a button.
type Action struct {
	Label string
	URL   template.URL // trusted: the caller has checked its scheme
}

// Link is an Action to an address whose scheme the caller has checked.
func Link(label, to string) Action { return Action{label, template.URL(to)} }

// Form is a button that sends a form.
type Form struct {
	Label  string
	Action string // URL
	Fields []Field
}

// Back is a link to an address of a client's choice. It is not recommended: the page
// says what is known of it.
type Back struct {
	Destination Destination
	URL         template.URL // trusted: the caller has checked its scheme
}

// Message tells what happened and what can be done about it.
type Message struct {
	Status  int // HTTP status
	Title   string
	Notice  string // what has just been done, if anything
	Text    string
	Form    *Form    // shown before the actions, as the recommended one
	Actions []Action // the first is the recommended one
	Back    *Back    // shown after the actions
}

// Write implements Page.
func (m Message) Write(w http.ResponseWriter, f Frame) error {
	return write(w, m.Status, "message.html", m, f)
}

// Command is what adds the server to a client in a terminal.
type Command struct {
	Client string
	Line   string // to paste into a shell
	Then   string // to enter in the client afterwards, "" for nothing
}

// View is an address that shows fewer tools.
type View struct {
	Shows string // what is there
	URL   string
}

// Front is the page of who knows no more than the address.
type Front struct {
	Endpoint string // URL
	SSE      string // URL for clients that know only HTTP+SSE
	Account  string // URL of the account page
	ReadOnly bool   // the server lets nobody change anything
	Links    []Action
	Commands []Command
	Views    []View
	Toolsets []string // that can stand in a view's URL in place of its own
}

// Title is the heading and window title.
func (Front) Title() string { return "Connect an application" }

// Render returns the page. It panics where the template is at fault.
func (p Front) Render(f Frame) []byte {
	b, err := render("front.html", p, f)
	if err != nil {
		panic(err)
	}
	return b
}

// Connection is a connected client on the account page.
type Connection struct {
	Client      string // as the client calls itself
	ID          string // short, as in the audit
	Publisher   string // host that published its description, if any
	Host        string // where its login returned to
	ReadOnly    bool
	First, Last time.Time
	Sessions    int // open
	Running     int // of them
	Disconnect  Form
}

// Account is the page that shows a user's connected clients.
type Account struct {
	User        string
	Notice      string // what has just been done, if anything
	Now         time.Time
	Connections []Connection
	All         Form // disconnects all
	Logout      Form
	// Settings is where the user can revoke the server at the forge.
	Settings template.URL
	Fewer    string // URL of what is said about addresses that show fewer tools
}

// Title is the heading and window title.
func (Account) Title() string { return "Connected applications" }

// Write implements Page.
func (a Account) Write(w http.ResponseWriter, f Frame) error {
	return write(w, http.StatusOK, "account.html", a, f)
}

//go:embed templates/*.html
var files embed.FS

//go:embed templates/style.css
var style string

// Icon is the mark of this software, an SVG image.
//
//go:embed templates/icon.svg
var Icon string

var (
	templates = template.Must(template.New("").Funcs(template.FuncMap{
		"style": func() template.CSS { return template.CSS(style) },
		"icon":  func() template.HTML { return template.HTML(Icon) },
		"ago":   ago,
		// A line is not to be broken at the hyphens of an option.
		"words":  func(line string) []string { return strings.Split(line, " ") },
		"option": func(word string) bool { return strings.HasPrefix(word, "-") },
		"when":   func(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 MST") },
		"stamp":  func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	}).ParseFS(files, "templates/*.html"))
	policy = contentPolicy(style)
)

// contentPolicy allows our own style and icon and nothing else. It has no form-action:
// Chromium and Safari apply that to the whole redirect chain of a form, which
// ends at the client, maybe on a custom scheme.
func contentPolicy(style string) string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
}

func write(w http.ResponseWriter, status int, name string, p any, f Frame) error {
	body, err := render(name, p, f)
	if err != nil {
		return err
	}
	h := w.Header()
	SetHeaders(h)
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, err = w.Write(body)
	return err
}

// SetHeaders are those that all pages have.
func SetHeaders(h http.Header) {
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin") // with no-referrer, forms would send "Origin: null"
}

// render has a template show p as .Page, with the fields of f beside it.
func render(name string, p any, f Frame) ([]byte, error) {
	var b bytes.Buffer
	err := templates.ExecuteTemplate(&b, name, struct {
		Frame
		Page any
	}{f, p})
	return b.Bytes(), err
}

// ago says how long before now t was.
func ago(now, t time.Time) string {
	switch d := now.Sub(t); {
	case d < time.Minute:
		return "just now"
	case d < 2*time.Hour:
		return count(d, time.Minute, "minute")
	case d < 48*time.Hour:
		return count(d, time.Hour, "hour")
	default:
		return count(d, 24*time.Hour, "day")
	}
}

func count(d, unit time.Duration, name string) string {
	n := int(d / unit)
	if n == 1 {
		return "1 " + name + " ago"
	}
	return strconv.Itoa(n) + " " + name + "s ago"
}
