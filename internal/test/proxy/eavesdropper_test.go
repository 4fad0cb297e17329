package proxy

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// eavesdropper writes down the secrets that pass between clients, browsers, the proxy
// and the forge.
type eavesdropper struct {
	mu   sync.Mutex
	seen map[string]string // the secret's kind, by the secret
}

func newEavesdropper() *eavesdropper { return &eavesdropper{seen: map[string]string{}} }

// publicNames are parameters that are no secret.
var publicNames = map[string]bool{
	"client_id": true, "redirect_uri": true, "resource": true, "scope": true, "iss": true, "response_type": true, "grant_type": true,
	"code_challenge_method": true, "user_name": true,
}

// shortest is how short a secret may be; what is shorter is found anywhere.
const shortest = 16

func (e *eavesdropper) note(kind, secret string) {
	if len(secret) < shortest || publicNames[kind] {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen[secret] = kind
	e.seen[url.QueryEscape(secret)] = kind
}

// kinds says what has been heard.
func (e *eavesdropper) kinds() map[string]bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	kinds := map[string]bool{}
	for _, kind := range e.seen {
		kinds[kind] = true
	}
	return kinds
}

// in returns the kinds of the secrets that stand in text.
func (e *eavesdropper) in(text string) (found []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for secret, kind := range e.seen {
		if strings.Contains(text, secret) {
			found = append(found, kind)
		}
	}
	return found
}

// over listens to what goes through next.
func (e *eavesdropper) over(next http.RoundTripper) http.RoundTripper { return listening{next, e} }

type listening struct {
	next http.RoundTripper
	e    *eavesdropper
}

func (l listening) RoundTrip(r *http.Request) (*http.Response, error) {
	l.request(r)
	resp, err := l.next.RoundTrip(r)
	if err == nil {
		l.response(resp)
	}
	return resp, err
}

func (l listening) request(r *http.Request) {
	l.values(r.URL.Query())
	_, credentials, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	l.e.note("Authorization", credentials)
	l.e.note("Mcp-Session-Id", r.Header.Get("Mcp-Session-Id"))
	for _, c := range r.Cookies() {
		l.e.note("cookie", c.Value)
	}
	if r.GetBody == nil || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		return
	}
	if body, err := r.GetBody(); err == nil {
		text, _ := io.ReadAll(body)
		form, _ := url.ParseQuery(string(text))
		l.values(form)
	}
}

func (l listening) values(v url.Values) {
	for name, values := range v {
		for _, value := range values {
			l.e.note(name, value)
		}
	}
}

func (l listening) response(resp *http.Response) {
	for _, c := range resp.Cookies() {
		l.e.note("cookie", c.Value)
	}
	if to, err := resp.Location(); err == nil {
		l.values(to.Query())
	}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		return
	}
	text, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(text))
	var members map[string]any
	if err != nil || json.Unmarshal(text, &members) != nil {
		return
	}
	for _, name := range []string{"access_token", "refresh_token", "client_secret"} {
		if secret, ok := members[name].(string); ok {
			l.e.note(name, secret)
		}
	}
}
