package fakeforge

import (
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
)

// Browser is a person at a browser with cookies: it signs in and answers the
// consent page of one forge. It is not safe for concurrent use.
type Browser struct {
	User, Password string
	Deny           bool // press Cancel on the consent page

	client *http.Client
}

// NewBrowser returns a browser without cookies. transport may be nil.
func NewBrowser(user, password string, transport http.RoundTripper) *Browser {
	jar, _ := cookiejar.New(nil) // fails never without options
	return &Browser{User: user, Password: password, client: &http.Client{
		Jar: jar, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

var (
	formAction = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
	formInput  = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
)

// Authorize opens authURL, signs in and consents as needed, and returns the
// redirect that leaves the forge, which it does not follow: the client's
// redirect URI with code and state, or with an error.
func (b *Browser) Authorize(authURL string) (*url.URL, error) {
	start, err := url.Parse(authURL)
	if err != nil {
		return nil, err
	}
	resp, err := b.client.Get(authURL)
	for range 10 {
		if err != nil {
			return nil, err
		}
		body, readErr := io.ReadAll(resp.Body)
		resp.Body.Close()
		if readErr != nil {
			return nil, readErr
		}
		to, redirectErr := resp.Location()
		switch {
		case redirectErr == nil && to.Host != start.Host:
			return to, nil
		case redirectErr == nil:
			resp, err = b.client.Get(to.String())
		case resp.StatusCode != http.StatusOK:
			return nil, fmt.Errorf("the forge answered %s to %s", resp.Status, resp.Request.URL.Path)
		default:
			resp, err = b.submit(resp.Request.URL, string(body))
		}
	}
	return nil, errors.New("the forge goes round in circles")
}

// submit fills in the page's first form.
func (b *Browser) submit(at *url.URL, body string) (*http.Response, error) {
	action := formAction.FindStringSubmatch(body)
	if action == nil || strings.Contains(body, "incorrect") {
		return nil, fmt.Errorf("the forge shows a page that cannot be answered at %s", at.Path)
	}
	form := url.Values{}
	for _, input := range formInput.FindAllStringSubmatch(body, -1) {
		form.Set(input[1], html.UnescapeString(input[2]))
	}
	if strings.Contains(body, `name="password"`) {
		form.Set("user_name", b.User)
		form.Set("password", b.Password)
	} else {
		form.Set("granted", fmt.Sprint(!b.Deny))
	}
	to, err := at.Parse(action[1])
	if err != nil {
		return nil, err
	}
	return b.client.PostForm(to.String(), form)
}
