package loginclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
)

// Browser is one person's browser: it keeps cookies, submits the forms it is
// shown, and follows redirects. As browsers do, it sends Origin and
// Sec-Fetch-Site with a form and honours the page's form-action policy (CSP
// level 3 §6.4.1), for redirects after it as well.
type Browser struct {
	User, Password string // for a login form
	UserCode       string // for a form that asks for one (RFC 8628 §3.3)
	// Deny presses the button that refuses on a page that asks for consent.
	Deny bool
	// Choose has radio buttons pressed: name to value.
	Choose map[string]string
	// Steps is told what happens, if set.
	Steps func(string)

	client *http.Client
}

// Redirect is what arrived at the client's redirect URI (RFC 6749 §4.1.2,
// RFC 9207), which is not called.
type Redirect struct {
	URL              *url.URL
	Code, State, Iss string
	Error            string // error code, such as access_denied
	ErrorDescription string
}

// pages bounds what one login may take.
const pages = 30

// NewBrowser returns a browser without cookies. A nil transport means
// http.DefaultTransport.
func NewBrowser(transport http.RoundTripper, user, password string) *Browser {
	jar, _ := cookiejar.New(nil) // fails never
	return &Browser{User: user, Password: password, client: &http.Client{
		Transport:     transport,
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Authorize opens an authorization URL and continues until it is sent to the
// redirect_uri that the URL names. An error response of OAuth is no error, see
// Redirect.Error; a page that leads nowhere is, and the error quotes it.
func (b *Browser) Authorize(ctx context.Context, authURL string) (Redirect, error) {
	first, err := url.Parse(authURL)
	if err != nil {
		return Redirect{}, fmt.Errorf("cannot open the authorization URL: %w", err)
	}
	target, err := url.Parse(first.Query().Get("redirect_uri"))
	if err != nil || target.Scheme == "" {
		return Redirect{}, errors.New("the authorization URL names no redirect_uri")
	}
	next := &submission{method: http.MethodGet, url: first}
	for range pages {
		p, err := b.load(ctx, next)
		if err != nil {
			return Redirect{}, err
		}
		if p.location == nil {
			if next, err = b.answer(p, next.login); err != nil {
				return Redirect{}, err
			}
			continue
		}
		if samePlace(p.location, target) {
			return arrived(p.location), nil
		}
		next = p.follow(next)
	}
	return Redirect{}, fmt.Errorf("no end after %d pages", pages)
}

// EnterCode enters UserCode at a verification URI, which may have it filled in, and
// continues until a page has nothing more to press, whose text it returns. A code that is
// not taken is an error, which quotes the page.
func (b *Browser) EnterCode(ctx context.Context, verificationURI string) (string, error) {
	first, err := url.Parse(verificationURI)
	if err != nil {
		return "", fmt.Errorf("cannot open the verification URI: %w", err)
	}
	entered := false
	next := &submission{method: http.MethodGet, url: first}
	for range pages {
		p, err := b.load(ctx, next)
		if err != nil {
			return "", err
		}
		if p.location != nil {
			next = p.follow(next)
			continue
		}
		form, text, err := p.read()
		switch {
		case err != nil:
			return "", err
		case form == nil && p.status < http.StatusBadRequest || b.Deny && p.status == http.StatusForbidden:
			return text, nil
		case form == nil, entered && strings.Contains(p.body, `name="user_code"`):
			return "", fmt.Errorf("browser: stuck at %s (status %d): %.500s", place(p.url), p.status, text)
		}
		entered = entered || strings.Contains(p.body, `name="user_code"`)
		if next, err = b.answer(p, next.login); err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("no end after %d pages", pages)
}

// page is one response: a redirect, or a document with at most one form.
type page struct {
	url      *url.URL
	location *url.URL // of a redirect
	status   int
	policy   string // Content-Security-Policy
	body     string
}

// submission is a request to make.
type submission struct {
	method string
	url    *url.URL
	form   url.Values
	from   *page // the page whose form it is, kept over redirects; nil for a typed URL
	login  bool  // the form has a password
}

func (b *Browser) load(ctx context.Context, s *submission) (*page, error) {
	if err := s.allowed(); err != nil {
		return nil, err
	}
	var body io.Reader
	if s.method == http.MethodPost {
		body = strings.NewReader(s.form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, s.method, s.url.String(), body)
	if err != nil {
		return nil, err
	}
	s.header(req.Header)
	resp, err := b.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("browser: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("browser: cannot read %s: %w", place(s.url), err)
	}
	p := &page{url: s.url, status: resp.StatusCode, body: string(text), policy: resp.Header.Get("Content-Security-Policy")}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		if p.location, err = resp.Location(); err != nil {
			return nil, fmt.Errorf("browser: %s redirects to nowhere", place(s.url))
		}
	}
	b.step("browser: %s %s → %d", s.method, place(s.url), resp.StatusCode)
	return p, nil
}

func (s *submission) header(h http.Header) {
	h.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	h.Set("Sec-Fetch-Mode", "navigate")
	h.Set("Sec-Fetch-Dest", "document")
	h.Set("Sec-Fetch-Site", s.site())
	if s.method == http.MethodPost {
		h.Set("Content-Type", "application/x-www-form-urlencoded")
		h.Set("Origin", origin(s.from.url))
	}
}

// site is Sec-Fetch-Site. What is same-site but not same-origin counts as
// cross-site here, which is the stricter case.
func (s *submission) site() string {
	switch {
	case s.from == nil:
		return "none"
	case origin(s.from.url) == origin(s.url):
		return "same-origin"
	}
	return "cross-site"
}

// follow makes the next request of a redirect: a GET, unless the status keeps
// the method (RFC 9110 §15.4).
func (p *page) follow(s *submission) *submission {
	next := &submission{method: http.MethodGet, url: p.location, from: s.from}
	if p.status == http.StatusTemporaryRedirect || p.status == http.StatusPermanentRedirect {
		next.method, next.form = s.method, s.form
	}
	return next
}

// allowed applies the form-action directive of the page whose form this came
// from; browsers apply it to the redirects that follow, too.
func (s *submission) allowed() error {
	if s.from == nil {
		return nil
	}
	for directive := range strings.SplitSeq(s.from.policy, ";") {
		words := strings.Fields(directive)
		if len(words) > 0 && words[0] == "form-action" && !s.matches(words[1:]) {
			return fmt.Errorf("browser: the policy of %s (form-action) forbids continuing to %s", place(s.from.url), place(s.url))
		}
	}
	return nil
}

func (s *submission) matches(sources []string) bool {
	for _, src := range sources {
		switch {
		case src == "*" || src == s.url.Scheme+":" || src == s.url.Host || strings.TrimSuffix(src, "/") == origin(s.url):
			return true
		case src == "'self'" && origin(s.from.url) == origin(s.url):
			return true
		}
	}
	return false
}

func (b *Browser) step(format string, args ...any) {
	if b.Steps != nil {
		b.Steps(fmt.Sprintf(format, args...))
	}
}

func arrived(u *url.URL) Redirect {
	q := u.Query()
	return Redirect{
		URL: u, Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss"),
		Error: q.Get("error"), ErrorDescription: q.Get("error_description"),
	}
}

func samePlace(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && a.Host == b.Host && a.Path == b.Path && a.Opaque == b.Opaque
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// place is a URL without its query, which may hold codes and states.
func place(u *url.URL) string { return origin(u) + u.EscapedPath() }
