package pages

import (
	"html/template"
	"net/http"
	"time"
)

// Page is what can be shown.
type Page interface {
	// Write renders the page and sends it.
	Write(w http.ResponseWriter) error
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
	Client      string // as the client calls itself; shown as unverified
	Publisher   string // host that published the client's description, if any
	Forge       string // host of the forge
	Destination Destination
	Parts       []Part  // what is asked for
	ReadOnly    bool    // it asks to read only
	Account     string  // URL of the account page
	Action      string  // URL the form is sent to
	Fields      []Field // hidden
}

// Title is the heading and window title.
func (c Consent) Title() string { return "Connect " + c.Client + "?" }

// Write implements Page.
func (c Consent) Write(w http.ResponseWriter) error {
	return write(w, http.StatusOK, "consent.html", c)
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
func (m Message) Write(w http.ResponseWriter) error { return write(w, m.Status, "message.html", m) }

// Connection is a connected client on the account page.
type Connection struct {
	Client      string // as the client calls itself
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
	Forge       string // host of the forge
	Notice      string // what has just been done, if anything
	Now         time.Time
	Connections []Connection
	All         Form // disconnects all
	Logout      Form
	// Settings is where the user can revoke the server at the forge.
	Settings template.URL
}

// Title is the heading and window title.
func (Account) Title() string { return "Connected applications" }

// Write implements Page.
func (a Account) Write(w http.ResponseWriter) error {
	return write(w, http.StatusOK, "account.html", a)
}
