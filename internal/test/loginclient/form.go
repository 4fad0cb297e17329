package loginclient

import (
	"cmp"
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
	values         url.Values
	choose         map[string]string
	userCode       string
	text, password string   // names of the first text and password fields
	buttons        []button // those that submit
}

type button struct{ name, value, label string }

// refusal matches what is written on, or sent by, a button that refuses.
var refusal = regexp.MustCompile(`(?i)\b(deny|denied|decline|cancel|refuse|reject|false|no)\b`)

// answer fills in the page's first form and presses a button. A login form in answer to
// a login says that it failed.
func (b *Browser) answer(p *page, afterLogin bool) (*submission, error) {
	doc, err := html.Parse(strings.NewReader(p.body))
	if err != nil {
		return nil, fmt.Errorf("browser: %s: %w", place(p.url), err)
	}
	f := &form{values: url.Values{}, choose: b.Choose, userCode: b.UserCode}
	element := first(doc, "form")
	if element != nil {
		for n := range element.Descendants() {
			f.field(n)
		}
	}
	switch {
	case len(f.buttons) == 0:
		return nil, fmt.Errorf("browser: stuck at %s (status %d): %.500s", place(p.url), p.status, content(doc))
	case f.password != "" && afterLogin:
		return nil, fmt.Errorf("browser: cannot sign in at %s: %.500s", place(p.url), content(doc))
	case f.password != "":
		f.values.Set(f.text, b.User)
		f.values.Set(f.password, b.Password)
	}
	pressed, err := f.press(b.Deny && f.password == "" && !f.values.Has("user_code"))
	if err != nil {
		return nil, fmt.Errorf("browser: %s: %w", place(p.url), err)
	}
	b.step("browser: on %q press %q", content(first(doc, "title")), pressed.label)
	action, err := p.url.Parse(attr(element, "action"))
	if err != nil {
		return nil, fmt.Errorf("browser: bad form action %q", attr(element, "action"))
	}
	s := &submission{method: strings.ToUpper(cmp.Or(attr(element, "method"), http.MethodGet)), url: action, form: f.values, from: p, login: f.password != ""}
	if s.method == http.MethodGet {
		s.url.RawQuery = f.values.Encode()
	}
	return s, nil
}

// read returns the page's form, nil without one, and what it says.
func (p *page) read() (*html.Node, string, error) {
	doc, err := html.Parse(strings.NewReader(p.body))
	if err != nil {
		return nil, "", fmt.Errorf("browser: %s: %w", place(p.url), err)
	}
	return first(doc, "form"), content(doc), nil
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

func (f *form) field(n *html.Node) {
	name, value, kind := attr(n, "name"), attr(n, "value"), strings.ToLower(attr(n, "type"))
	choice, chosen := f.choose[name]
	switch {
	case n.Type != html.ElementNode:
	case n.Data == "button" && kind != "button" && kind != "reset":
		f.buttons = append(f.buttons, button{name, value, content(n)})
	case n.Data != "input":
	case kind == "submit":
		f.buttons = append(f.buttons, button{name, value, value})
	case kind == "radio" && chosen:
		if value == choice {
			f.values.Set(name, value)
		}
	case kind == "radio" || kind == "checkbox":
		if slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == "checked" }) {
			f.values.Add(name, value)
		}
	case name == "user_code" && f.userCode != "":
		f.values.Set(name, f.userCode)
	case name != "":
		f.values.Add(name, value)
		switch kind {
		case "password":
			f.password = name
		case "", "text", "email":
			f.text = cmp.Or(f.text, name)
		}
	}
}

func first(root *html.Node, name string) *html.Node {
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.Data == name {
			return n
		}
	}
	return nil
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
	if n == nil {
		return ""
	}
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode && d.Parent.Data != "style" && d.Parent.Data != "script" {
			b.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}
