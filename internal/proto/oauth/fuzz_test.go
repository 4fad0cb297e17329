package oauth

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func FuzzRedirectURI(f *testing.F) {
	for _, s := range []string{
		"https://a.example/cb", "http://127.0.0.1:1/", "http://[::1]/cb?x", "cursor://a/b", "com.example:/x", "javascript:alert(1)",
		"http://localhost:1@evil.example/", "https://a.example\\.evil.example/", "http://localhost:/", "http://[::1%25lo]/",
	} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, registered, given string) {
		if (Schemes{}).Validate(given) == nil {
			u, err := url.Parse(given)
			if err != nil || u.User != nil || u.Fragment != "" || strings.ContainsAny(given, "\r\n\\ #") {
				t.Errorf("%q was accepted", given)
			}
			if u.Scheme == "http" && !IsLoopback(u.Hostname()) {
				t.Errorf("%q was accepted", given)
			}
		}
		if !(Schemes{}).Match([]string{registered}, given) || registered == given {
			return
		}
		a, errA := url.Parse(registered)
		b, errB := url.Parse(given)
		if errA != nil || errB != nil || a.Scheme != "http" || b.Scheme != "http" || a.Hostname() != b.Hostname() ||
			!IsLoopback(b.Hostname()) || a.RawQuery != b.RawQuery || strings.TrimPrefix(a.EscapedPath(), "/") != strings.TrimPrefix(b.EscapedPath(), "/") {
			t.Errorf("%q matched %q", given, registered)
		}
	})
}

func FuzzBasic(f *testing.F) {
	for _, s := range []string{"a:b", "a%3A:b+c", ":", "a", "%:%", "a:b:c"} {
		f.Add(base64.StdEncoding.EncodeToString([]byte(s)))
	}
	f.Fuzz(func(t *testing.T, encoded string) {
		id, secret, ok := parseBasic("Basic " + encoded)
		if !ok {
			return
		}
		// What is unreserved must read exactly as the standard library reads it.
		r := http.Request{Header: http.Header{"Authorization": {"Basic " + encoded}}}
		wantID, wantSecret, wantOK := r.BasicAuth()
		if wantOK && !strings.ContainsAny(wantID+wantSecret, "%+") && (id != wantID || secret != wantSecret) {
			t.Errorf("%q: %q and %q, want %q and %q", encoded, id, secret, wantID, wantSecret)
		}
	})
}

func FuzzRegistration(f *testing.F) {
	f.Add([]byte(`{"redirect_uris":["http://127.0.0.1/"],"client_name":"x"}`))
	f.Add([]byte(`{"redirect_uris":[null],"grant_types":[1]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseRegistration(body, nil, false)
		if err != nil {
			return
		}
		for _, uri := range r.RedirectURIs {
			if e := (Schemes{}).Validate(uri); e != nil {
				t.Errorf("%q was registered: %v", uri, e)
			}
		}
		if strings.ContainsFunc(r.ClientName, func(c rune) bool { return c < ' ' }) {
			t.Errorf("name %q", r.ClientName)
		}
	})
}
