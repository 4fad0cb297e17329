package browser

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// device is a client without a browser that has asked for access.
type device struct {
	w         *world
	client    string
	Code      string `json:"device_code"`
	User      string `json:"user_code"`
	Complete  string `json:"verification_uri_complete"`
	Enter     string `json:"verification_uri"`
	ExpiresIn int    `json:"expires_in"`
}

func newDeviceWorld(t *testing.T) *world {
	return newWorld(t, "FJMCP_BROKER_DEVICE_GRANT=on", "FJMCP_BROKER_TRUSTED_PROXIES=127.0.0.1")
}

// ask has a client of that name ask from an address.
func (w *world) ask(name, address string) device {
	w.t.Helper()
	d := device{w: w}
	var made struct {
		ClientID string `json:"client_id"`
	}
	body, _ := json.Marshal(map[string]any{
		"client_name": name, "token_endpoint_auth_method": "none", "grant_types": []string{"urn:ietf:params:oauth:grant-type:device_code", "refresh_token"},
	})
	w.post("/oauth/register", "application/json", string(body), address, &made)
	d.client = made.ClientID
	w.post("/oauth/device_authorization", "application/x-www-form-urlencoded", url.Values{"client_id": {d.client}}.Encode(), address, &d)
	return d
}

// poll is the device's, which gets the answer.
func (d device) poll() (answer map[string]any) {
	d.w.t.Helper()
	d.w.post("/oauth/token", "application/x-www-form-urlencoded", url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "client_id": {d.client}, "device_code": {d.Code},
	}.Encode(), "198.51.100.7", &answer)
	return answer
}

// post asks the broker past the proxy, as if it came from address.
func (w *world) post(path, kind, body, address string, answer any) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.broker.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	r.Header.Set("X-Forwarded-For", address)
	resp, err := (&http.Client{Transport: w.transport}).Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(text, answer)
	}
	if err != nil {
		w.t.Fatalf("%s: %d %s, %v", path, resp.StatusCode, text, err)
	}
}

// The link that a device shows, by mouse: the code is filled in, and nothing is skipped.
func TestDeviceLink(t *testing.T) {
	w := newDeviceWorld(t)
	d := w.ask("Nightly report", "198.51.100.7")
	b := newBrowser(t)
	b.open(d.Complete)
	b.see("Connect a device", "If somebody has sent you a code")
	b.lacks("Nightly report")
	b.inspect("device-code")
	b.press("Continue")
	b.see("Did you start this?", "Nightly report", "nobody has checked it", d.User, "198.51.100.7, which is not this browser's", "just now", "Read only", "Repositories")
	b.inspect("device-question")
	if b.asked(w.forge.URL) != "" {
		t.Error("the browser was sent to the forge before it was asked")
	}
	b.press("Read only")
	b.press("Yes, continue to Forgejo login")
	b.throughForge("alice", w.url+"/oauth/callback")
	b.see("The device is connected", "It can use the account alice at ")
	b.inspect("device-connected")
	if got := d.poll(); got["scope"] != "forgejo:read" || got["access_token"] == nil {
		t.Errorf("%v", got["error"])
	}
	// Forgejo would send this browser back at once. The question comes all the same.
	again := w.ask("Nightly report", "198.51.100.7")
	b.open(again.Complete)
	b.press("Continue")
	b.see("Did you start this?")
	if got := again.poll(); got["error"] != "authorization_pending" {
		t.Errorf("%v", got["error"])
	}
	b.press("Yes, continue to Forgejo login")
	b.see("The device is connected")
	b.press("Show my applications")
	b.press("Log in with Forgejo")
	b.see("Nightly report")
}

// A code that is typed, with the keyboard alone: first one that is wrong.
func TestDeviceByKeyboard(t *testing.T) {
	w := newDeviceWorld(t)
	d := w.ask("A program with quite a long name, as some have, to see how it wraps", "127.0.0.1")
	b := newBrowser(t)
	enter := func(code string) {
		t.Helper()
		b.enter() // to the link in the header
		b.key(kb.Tab)
		b.until("the focus on the code", func() bool { name, _ := b.eval(`document.activeElement.name || ""`); return name == "user_code" })
		b.key(code)
		b.key(kb.Enter)
	}
	b.open(d.Enter)
	b.see("Connect a device")
	enter("bcdf ghjk")
	b.see("This code is unknown")
	b.inspect("device-unknown")
	b.open(d.Enter)
	b.see("Connect a device")
	enter("hello")
	b.see("A code has eight letters")
	b.open(d.Enter)
	b.see("Connect a device")
	enter(strings.ToLower(strings.Replace(d.User, "-", " ", 1)))
	b.see("Did you start this?", "This server cannot tell")
	b.inspect("device-question-here")
	b.enter()
	for _, want := range []string{"Read and write", "Yes, continue to Forgejo login", "No, I did not start this"} {
		b.key(kb.Tab)
		b.until("the focus on "+want, func() bool { return strings.HasPrefix(b.focused(), want) })
	}
	b.key(kb.Enter)
	b.see("Not connected", "it was an attempt to get into your account")
	b.inspect("device-denied")
	if got := d.poll(); got["error"] != "access_denied" {
		t.Errorf("%v", got)
	}
	b.open(d.Complete)
	b.press("Continue")
	b.see("This code is unknown")
}

// Who turns back at Forgejo says no, too.
func TestDeviceDeniedAtForgejo(t *testing.T) {
	w := newDeviceWorld(t)
	d := w.ask("Example", "198.51.100.7")
	b := newBrowser(t)
	b.open(d.Complete)
	b.press("Continue")
	b.press("Yes, continue to Forgejo login")
	b.signIn("alice")
	b.press("Cancel")
	b.see("Not connected")
	if got := d.poll(); got["error"] != "access_denied" {
		t.Errorf("%v", got)
	}
}
