package pages

import (
	"html"
	"net/http/httptest"
	"net/url"
	"regexp"
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

// What the page says of who asks is one statement in each case: it takes back nothing that
// it has said, and claims no more than is known.
func TestConsentSaysWhatIsKnown(t *testing.T) {
	const (
		chosen  = "It chose this name itself; nobody has checked it."
		known   = "It chose this name itself, but this server knows where it returns to."
		added   = "The operator of this server has added it, and where it returns to."
		names   = "vscode.dev describes it, and names where it returns to."
		belongs = "This address belongs to Claude, whatever the application calls itself. Continue only if you have just started the connection there yourself."
		unknown = "This server does not know this address. Continue only if you know whose it is and have just started the connection there yourself."
		program = "This is a program on your own computer, and any program there can say that it is this application. Continue only if you have just started the connection yourself, on this computer."
		app     = "This opens an app on your device. Continue only if you have just started the connection yourself, on this device."
		owned   = "This opens Cursor, or another app that says it is. Continue only if you have just started the connection yourself, on this device."
		own     = "This address is vscode.dev's own: whoever runs that gets access. Continue only if you know whose it is and have just started the connection there yourself."
		named   = "This server does not know this address, only that vscode.dev names it. Continue only if you know whose both are and have just started the connection there yourself."
		only    = "Continue only if you have just started the connection there yourself."
	)
	site, other := Destination{Host: "claude.ai", Kind: KnownSite, Owner: "Claude"}, Destination{Host: "app.example"}
	loopback, scheme := Destination{Host: "127.0.0.1", Kind: ThisComputer}, Destination{Host: "myapp", Kind: App}
	cursor, its := Destination{Host: "cursor", Kind: App, Owner: "Cursor"}, Destination{Host: "vscode.dev"}
	for _, tc := range []struct {
		publisher  string
		added      bool
		to         Destination
		who, where string
	}{
		{"", false, site, known, belongs}, {"", false, other, chosen, unknown}, {"", false, loopback, chosen, program},
		{"", false, scheme, chosen, app}, {"", false, cursor, chosen, owned},
		{"vscode.dev", false, site, names, belongs}, {"vscode.dev", false, other, names, named}, {"vscode.dev", false, its, names, own},
		{"vscode.dev", false, loopback, names, program}, {"vscode.dev", false, scheme, names, app}, {"vscode.dev", false, cursor, names, owned},
		{"", true, site, added, belongs}, {"", true, other, added, only}, {"", true, loopback, added, program},
		{"", true, scheme, added, app}, {"", true, cursor, added, owned},
	} {
		w := httptest.NewRecorder()
		c := Consent{Client: "Claude", Publisher: tc.publisher, Added: tc.added, Destination: tc.to}
		if err := c.Write(w, Frame{Forge: "git.example.org"}); err != nil {
			t.Fatal(err)
		}
		_, said, _ := strings.Cut(w.Body.String(), "</h1>")
		said, _, _ = strings.Cut(said, "<p>With your account")
		said = strings.Join(strings.Fields(html.UnescapeString(tag.ReplaceAllString(said, ""))), " ")
		want := "Claude asks to use your account at git.example.org. " + tc.who + " After the login you are sent to " + tc.to.Host + " " + tc.where
		if said != want {
			t.Errorf("%+v:\n got %s\nwant %s", c, said, want)
		}
	}
}

var tag = regexp.MustCompile("<[^>]*>")

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
