package pages

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestConsentEscapesWhatTheClientChose(t *testing.T) {
	w := httptest.NewRecorder()
	evil := `</h1><script>alert(1)</script>"'`
	err := (Consent{
		Client: evil, Publisher: evil, Destination: Destination{Host: evil, Kind: App, Owner: evil}, Parts: []Part{{Name: evil}},
		Action: "https://broker.example/oauth/authorize", Fields: []Field{{Name: "state", Value: evil}},
	}).Write(w, Frame{Site: evil, Forge: evil})
	if err != nil {
		t.Fatal(err)
	}
	body := w.Body.String()
	if strings.Contains(body, "<script") || strings.Contains(body, `"'`) {
		t.Errorf("the page holds what the client wrote:\n%s", body)
	}
	if n := strings.Count(body, "&lt;script&gt;"); n < 7 {
		t.Errorf("the values are shown %d times", n)
	}
}

func TestAccountEscapesWhatTheClientChose(t *testing.T) {
	w := httptest.NewRecorder()
	evil := `</h2><script>alert(1)</script>"'`
	err := (Account{User: evil, Notice: evil, Connections: []Connection{{Client: evil, Publisher: evil, Host: evil}}}).Write(w, Frame{Site: evil, Forge: evil})
	if err != nil {
		t.Fatal(err)
	}
	if body := w.Body.String(); strings.Contains(body, "<script") || strings.Count(body, "&lt;script&gt;") < 7 {
		t.Errorf("the page holds what the client wrote:\n%s", body)
	}
}

func TestAgo(t *testing.T) {
	now := time.Now()
	for d, want := range map[time.Duration]string{
		-time.Hour: "just now", 59 * time.Second: "just now", time.Minute: "1 minute ago", 119 * time.Minute: "119 minutes ago",
		2 * time.Hour: "2 hours ago", 47 * time.Hour: "47 hours ago", 48 * time.Hour: "2 days ago",
	} {
		if got := ago(now, now.Add(-d)); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

func TestFormToken(t *testing.T) {
	params := url.Values{"client": {"a"}}
	token := FormToken("secret", "disconnect", params)
	if !ValidFormToken(token, "secret", "disconnect", params) {
		t.Error("the token is not valid")
	}
	for name, valid := range map[string]bool{
		"another secret":   ValidFormToken(token, "other", "disconnect", params),
		"another purpose":  ValidFormToken(token, "secret", "logout", params),
		"other parameters": ValidFormToken(token, "secret", "disconnect", url.Values{"client": {"b"}}),
		"no secret":        ValidFormToken(FormToken("", "disconnect", params), "", "disconnect", params),
	} {
		if valid {
			t.Errorf("%s: valid", name)
		}
	}
}

func TestHeaders(t *testing.T) {
	w := httptest.NewRecorder()
	if err := (Message{Status: 403, Title: "t", Text: "x", Actions: []Action{{Label: "Back", URL: "cursor://a/b?x=1&y=2"}}}).Write(w, Frame{}); err != nil {
		t.Fatal(err)
	}
	if w.Code != 403 || !strings.Contains(w.Body.String(), `href="cursor://a/b?x=1&amp;y=2"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	csp := w.Header().Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("policy %q lacks %q", csp, want)
		}
	}
	if strings.Contains(csp, "form-action") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy %q", csp)
	}
	for name, want := range map[string]string{"X-Frame-Options": "DENY", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestTheStyleIsTheOneThePolicyAllows(t *testing.T) {
	w := httptest.NewRecorder()
	if err := (Message{Status: 200}).Write(w, Frame{}); err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(w.Body.String(), "<style>")
	shown, _, _ := strings.Cut(rest, "</style>")
	if contentPolicy(shown) != w.Header().Get("Content-Security-Policy") {
		t.Error("a browser would drop the style: its hash is not in the policy")
	}
}
