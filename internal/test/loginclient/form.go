package loginclient

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// form is a form of a page with the values it starts with.
type form struct {
	action, method string
	values         url.Values
	text, password string              // names of the first text and password fields
	buttons        []button            // those that submit
	radios         map[string][]string // values of radio buttons by name
}

type button struct{ name, value, label string }

// refusal matches what is written on, or sent by, a button that refuses.
var refusal = regexp.MustCompile(`(?i)\b(deny|denied|decline|cancel|refuse|reject|false|no)\b`)

// answer fills in the page's form and presses a button. A login form in answer to
// a login says that it failed.
func (b *Browser) answer(p *page, afterLogin bool) (*submission, error) {
	f := parseForm(p.body)
	if f == nil || len(f.buttons) == 0 {
		return nil, fmt.Errorf("browser: stuck at %s (status %d): %s", place(p.url), p.status, text(p.body))
	}
	deny := false
	if f.password != "" {
		if afterLogin {
			return nil, fmt.Errorf("browser: cannot sign in at %s: %s", place(p.url), text(p.body))
		}
		f.values.Set(f.text, b.User)
		f.values.Set(f.password, b.Password)
	} else {
		deny = b.Deny != nil && b.Deny(p.url.Host)
	}
	for name, value := range b.Choose {
		if slices.Contains(f.radios[name], value) {
			f.values.Set(name, value)
		}
	}
	pressed, err := f.press(deny)
	if err != nil {
		return nil, fmt.Errorf("browser: %s: %w", place(p.url), err)
	}
	b.step("browser: on %q press %q", title(p.body), pressed.label)
	s, err := f.submit(p)
	if err != nil {
		return nil, err
	}
	s.login = f.password != ""
	return s, nil
}

// press picks the first button that refuses or does not, and adds its value.
func (f *form) press(deny bool) (button, error) {
	for _, bt := range f.buttons {
		if refusal.MatchString(bt.label+" "+bt.value) == deny {
			if bt.name != "" {
				f.values.Set(bt.name, bt.value)
			}
			return bt, nil
		}
	}
	return button{}, fmt.Errorf("no button for deny=%t among %v", deny, f.buttons)
}

func (f *form) submit(p *page) (*submission, error) {
	action, err := p.url.Parse(f.action)
	if err != nil {
		return nil, fmt.Errorf("browser: bad form action %q", f.action)
	}
	s := &submission{method: f.method, url: action, form: f.values, from: p}
	if f.method == http.MethodGet {
		s.url.RawQuery = f.values.Encode()
	}
	return s, nil
}

// parseForm returns the first form of a document, nil if it has none.
func parseForm(doc string) *form {
	root, err := html.Parse(strings.NewReader(doc))
	if err != nil {
		return nil
	}
	var f *form
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.Data == "form" {
			f = &form{action: attr(n, "action"), method: strings.ToUpper(attr(n, "method")), values: url.Values{}, radios: map[string][]string{}}
			if f.method == "" {
				f.method = http.MethodGet
			}
			for d := range n.Descendants() {
				f.field(d)
			}
			break
		}
	}
	return f
}

func (f *form) field(n *html.Node) {
	name, kind := attr(n, "name"), strings.ToLower(attr(n, "type"))
	switch {
	case n.Type != html.ElementNode:
	case n.Data == "button" && kind != "button" && kind != "reset":
		f.buttons = append(f.buttons, button{name, attr(n, "value"), content(n)})
	case n.Data == "input" && kind == "submit":
		f.buttons = append(f.buttons, button{name, attr(n, "value"), attr(n, "value")})
	case n.Data == "input" && (kind == "checkbox" || kind == "radio"):
		if kind == "radio" {
			f.radios[name] = append(f.radios[name], attr(n, "value"))
		}
		if has(n, "checked") {
			f.values.Add(name, attr(n, "value"))
		}
	case n.Data == "input" && name != "":
		f.values.Add(name, attr(n, "value"))
		f.remember(name, kind)
	}
}

func (f *form) remember(name, kind string) {
	switch kind {
	case "password":
		f.password = name
	case "", "text", "email":
		if f.text == "" {
			f.text = name
		}
	}
}

func has(n *html.Node, name string) bool {
	for _, a := range n.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// content is a node's text, its white space folded.
func content(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode && d.Parent.Data != "style" && d.Parent.Data != "script" {
			b.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func title(doc string) string {
	root, err := html.Parse(strings.NewReader(doc))
	if err != nil {
		return ""
	}
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.Data == "title" {
			return content(n)
		}
	}
	return ""
}

// text is the beginning of a document's text, for an error.
func text(doc string) string {
	root, err := html.Parse(strings.NewReader(doc))
	if err != nil {
		return ""
	}
	t := content(root)
	if len(t) > 500 {
		t = t[:500] + "…"
	}
	return t
}
