package authserver_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/clientmeta"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"
	"github.com/fjmcp/fjmcp-broker/internal/operator"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeweb"
)

// Off, there is nothing of it.
func TestDeviceGrantOff(t *testing.T) {
	w := newDeviceWorld(t)
	d := w.ask("")
	d.agree()
	refresh := d.wait().json(t)["refresh_token"].(string)
	waiting := w.ask(d.client)
	w.devices = false
	w.restart()
	for _, name := range []string{"oauth-authorization-server", "openid-configuration"} {
		if a := w.get(w.url + "/.well-known/" + name); strings.Contains(a.body, "device") {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	for _, path := range []string{"/device", "/device?user_code=" + d.user} {
		if a := w.get(w.url + path); a.StatusCode != 404 {
			t.Errorf("GET %s: %d", path, a.StatusCode)
		}
	}
	for _, path := range []string{"/device", "/device/answer", "/oauth/device_authorization"} {
		if a := w.post(path, w.deviceForm(d.client)); a.StatusCode != 404 {
			t.Errorf("POST %s: %d", path, a.StatusCode)
		}
	}
	waiting.poll().wantError(t, 400, "unsupported_grant_type", "is not supported")
	a := w.do(newBrowser(), w.request(http.MethodPost, w.url+"/oauth/register", deviceBody, "Content-Type", "application/json"))
	a.wantError(t, 400, "invalid_redirect_uri", "")
	// A login that it has led to is one as any other.
	if a := w.post("/oauth/token", client{id: d.client}.refreshForm(refresh)); a.StatusCode != 200 {
		t.Errorf("refresh: %d %s", a.StatusCode, a.body)
	}
}

// What is on offer says so, and nothing else has changed.
func TestDeviceMetadata(t *testing.T) {
	w := newWorldAt(t, "/mcp-broker")
	before := w.get(w.url + "/.well-known/oauth-authorization-server").json(t)
	w.devices = true
	w.restart()
	after := w.get(w.url + "/.well-known/oauth-authorization-server").json(t)
	if after["device_authorization_endpoint"] != w.url+"/oauth/device_authorization" || fmt.Sprint(after["grant_types_supported"]) != "[authorization_code refresh_token "+oauth.GrantDevice+"]" {
		t.Errorf("%v", after)
	}
	delete(after, "device_authorization_endpoint")
	after["grant_types_supported"] = before["grant_types_supported"]
	if fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("%v, was %v", after, before)
	}
	d := w.ask("")
	d.agree()
	if a := d.wait(); a.StatusCode != 200 {
		t.Errorf("below a prefix: %d %s", a.StatusCode, a.body)
	}
}

// A client uses the grants that it has registered for, and no other.
func TestDeviceClientsDoNotRedirect(t *testing.T) {
	w := newDeviceWorld(t)
	alone := strings.Replace(deviceBody, `{`, `{"redirect_uris":["http://127.0.0.1/cb"],`, 1) // as mcp-remote
	c := client{id: w.register(alone)["client_id"].(string), redirectURI: "http://127.0.0.1:9999/cb", verifier: strings.Repeat("v", 43)}
	if a := w.get(w.url + "/oauth/authorize?" + c.authorizeQuery().Encode()); a.StatusCode != 400 || !strings.Contains(a.body, "has not registered for authorization_code") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	w.ask(c.id)
	none := client{id: w.register(deviceBody)["client_id"].(string), redirectURI: "http://127.0.0.1:9999/cb", verifier: c.verifier}
	if a := w.get(w.url + "/oauth/authorize?" + none.authorizeQuery().Encode()); a.StatusCode != 400 || !strings.Contains(a.body, "an address it did not register") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	both := c
	both.id = w.register(strings.Replace(alone, `"grant_types":[`, `"grant_types":["authorization_code",`, 1))["client_id"].(string)
	w.tokens(both, w.logIn(both))
	d := w.ask(both.id)
	d.agree()
	if a := d.wait(); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// The page says what a device has proved, and no more; whatever the client calls itself.
func TestDeviceQuestion(t *testing.T) {
	w := newDeviceWorld(t)
	w.web = fakeweb.Start(t)
	cfg := clientmeta.Config{Log: slog.New(slog.DiscardHandler), Now: w.now, DeviceGrant: true}
	w.web.Configure(&cfg)
	w.documents = clientmeta.New(cfg)
	w.restart()
	w.web.JSON(appID, strings.Replace(appDocument, `"redirect_uris"`, `"grant_types":["authorization_code","`+oauth.GrantDevice+`"],"redirect_uris"`, 1))
	plain := w.documentWithoutDevices()
	operator := operator.New(operator.Config{Settings: &config.Config{DeviceGrant: true}, Store: w.store, Audit: audit.New(w.trail), Now: w.now})
	secret, err := operator.AddClient(t.Context(), admin.NewClient{Name: "Report", Device: true})
	w.must(err)
	public, err := operator.AddClient(t.Context(), admin.NewClient{Name: "Report", Device: true, Public: true})
	w.must(err)
	hostile := "</h1><script>alert(1)</script>\u202eevil\"'"
	name, _ := json.Marshal(hostile)
	for _, tc := range []struct {
		client      string
		changes     []string
		says, lacks string
	}{
		{w.register(deviceBody)["client_id"].(string), nil, "It chose this name itself; nobody has checked it.", "operator of this server has added"},
		{appID, nil, "It says that it is what <strong>app.example</strong> describes; nobody has checked that.", "proved"},
		{secret.ID, []string{"client_secret", secret.Secret}, "The operator of this server has added it, and it has shown its secret.", "nobody has checked"},
		{public.ID, nil, "but any other can say that it is this one", "shown its secret"},
		{w.register(strings.Replace(deviceBody, `"Box"`, string(name), 1))["client_id"].(string), nil, "&lt;/h1&gt;&lt;script&gt;alert(1)&lt;/script&gt;evil", "<script"},
		{w.register(strings.Replace(deviceBody, `"client_name":"Box",`, "", 1))["client_id"].(string), nil, "<bdi>An application</bdi>", ""},
		{w.register(deviceBody)["client_id"].(string), []string{"scope", "forgejo:read"}, "It asks to read only.", "Read and write"},
	} {
		d := w.ask(tc.client, tc.changes...)
		w.advance(3 * time.Minute)
		b := newBrowser()
		a := w.enter(b, w.codeForm(b), strings.ToLower(d.user))
		for _, says := range []string{tc.says, d.user, "3 minutes ago", "This server cannot tell", "Did you start this?", "No, I did not start this", "Repositories: code"} {
			if a.StatusCode != 200 || !strings.Contains(a.body, says) {
				t.Errorf("%s: %d, lacks %q: %s", tc.client, a.StatusCode, says, a.body)
			}
		}
		if tc.lacks != "" && strings.Contains(a.body, tc.lacks) {
			t.Errorf("%s says %q", tc.client, tc.lacks)
		}
		if strings.Contains(a.body, d.code) || a.Header.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%v %s", a.Header, a.body)
		}
	}
	w.post("/oauth/device_authorization", w.deviceForm(plain)).wantError(t, 400, "unauthorized_client", "")
}

// Where the device asked from is told if it is known: not if a reverse proxy, for whom all
// have one address, says nothing or is not believed.
func TestDeviceAddress(t *testing.T) {
	w := newDeviceWorld(t)
	client := w.register(deviceBody)["client_id"].(string)
	for _, tc := range []struct{ device, browser, says string }{
		{"198.51.100.7", "198.51.100.7", "198.51.100.7, as this browser does"},
		{"198.51.100.7", "198.51.100.8", "198.51.100.7, which is not this browser"},
		{"198.51.100.7", "", "198.51.100.7, which is not this browser"},
		{"2001:db8::1", "2001:db8::2", "2001:db8::/64, as this browser does"},
		{"", "198.51.100.7", "This server cannot tell"},
		{"", "", "This server cannot tell"},
		{"::1", "::1", "This server cannot tell"},
	} {
		from := func(address string) []string {
			if address == "" {
				return nil
			}
			return []string{"X-Forwarded-For", address}
		}
		code := w.post("/oauth/device_authorization", w.deviceForm(client), from(tc.device)...).json(t)["user_code"].(string)
		b := newBrowser()
		form := w.codeForm(b)
		form.Set("user_code", code)
		headers := append([]string{"Content-Type", "application/x-www-form-urlencoded"}, from(tc.browser)...)
		if a := w.do(b, w.request(http.MethodPost, w.url+"/device", form.Encode(), headers...)); !strings.Contains(a.body, tc.says) {
			t.Errorf("%+v: %d %s", tc, a.StatusCode, a.body)
		}
	}
	// A proxy elsewhere that nobody has named.
	d, b := w.ask(client), newBrowser()
	form := w.codeForm(b)
	form.Set("user_code", d.user)
	r := w.request(http.MethodPost, w.url+"/device", form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "X-Forwarded-For", "198.51.100.8")
	for _, c := range b.Jar.Cookies(r.URL) {
		r.AddCookie(c)
	}
	r.RemoteAddr = "203.0.113.1:1"
	w.must(w.setAddress(d, "203.0.113.1"))
	if a := serve(t, w.mux.Load(), r); a.StatusCode != 200 || !strings.Contains(a.body, "This server cannot tell") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// setAddress has a device have asked from there.
func (w *world) setAddress(d device, address string) error {
	db, err := sql.Open("sqlite", w.path)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(w.t.Context(), "UPDATE device_requests SET address = ? WHERE hash = ?", address, model.Hash(d.code))
	return err
}

// documentWithoutDevices is a client whose document names no grant type.
func (w *world) documentWithoutDevices() string {
	const id = "https://other.example/client.json"
	w.web.JSON(id, strings.ReplaceAll(appDocument, appID, id))
	return id
}

// A client with a document polls before any user has agreed to it. Nothing is stored of
// it until one has, and nothing is fetched for who has no device code of it.
func TestDeviceWithADocument(t *testing.T) {
	w := newDeviceWorld(t)
	w.web = fakeweb.Start(t)
	cfg := clientmeta.Config{Log: slog.New(slog.DiscardHandler), Now: w.now, DeviceGrant: true}
	w.web.Configure(&cfg)
	w.documents = clientmeta.New(cfg)
	w.restart()
	w.web.JSON(appID, `{"client_id":"`+appID+`","client_name":"App","grant_types":["`+oauth.GrantDevice+`"]}`)
	device{w: w, client: appID, code: "fjd_nothing"}.poll().wantError(t, 401, "invalid_client", "")
	if n := w.web.Hits(appID); n != 0 {
		t.Errorf("fetched %d times", n)
	}
	d := w.ask(appID)
	d.poll().wantError(t, 400, "authorization_pending", "")
	if n := w.count("SELECT COUNT(*) FROM clients"); n != 0 {
		t.Errorf("%d clients are stored", n)
	}
	d.agree()
	a := d.wait()
	if a.StatusCode != 200 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	w.documents = nil // refreshes need no document
	w.restart()
	if a := w.post("/oauth/token", client{id: appID}.refreshForm(a.json(t)["refresh_token"].(string))); a.StatusCode != 200 {
		t.Errorf("refresh: %d %s", a.StatusCode, a.body)
	}
}

// Forms belong to the browser that was shown them, and to the one request. A code in the
// URL fills in the form, and is not looked for.
func TestDeviceFormsAreBound(t *testing.T) {
	w := newDeviceWorld(t)
	d := w.ask("")
	one, two := newBrowser(), newBrowser()
	page := w.do(one, w.request(http.MethodGet, w.url+"/device?user_code="+d.user, ""))
	if !strings.Contains(page.body, `value="`+d.user+`"`) || strings.Contains(page.body, ">Box<") {
		t.Errorf("%s", page.body)
	}
	if a := w.get(w.url + "/device?user_code=" + url.QueryEscape(`"><script>`)); strings.Contains(a.body, "<script") || !strings.Contains(a.body, `value=""`) {
		t.Errorf("%s", a.body)
	}
	for name, a := range map[string]answer{
		"no token":             w.enter(one, url.Values{}, d.user),
		"another browser's":    w.enter(two, w.fields(page, 200), d.user),
		"no browser":           w.post("/device", url.Values{"user_code": {d.user}, "form_token": {w.codeForm(two).Get("form_token")}}),
		"an answer, no token":  w.answerQuestion(one, url.Values{}, "allow"),
		"an answer, code's":    w.answerQuestion(one, w.codeForm(one), "allow"),
		"an answer, another's": w.answerQuestion(two, w.question(one, d.user), "allow"),
		"a denial, another's":  w.answerQuestion(two, w.question(one, d.user), "deny"),
		"another request's":    w.answerQuestion(one, url.Values{"request": {"x"}, "form_token": {w.question(one, d.user).Get("form_token")}}, "allow"),
	} {
		if a.StatusCode != 403 || !strings.Contains(a.body, "This form does not belong to this browser") {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
		}
	}
	d.poll().wantError(t, 400, "authorization_pending", "")
	form := w.question(one, d.user)
	if a := w.answerQuestion(one, form, "deny"); a.StatusCode != 403 || !strings.Contains(a.body, "Not connected") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a := w.answerQuestion(one, form, "allow"); a.StatusCode != 400 || !strings.Contains(a.body, "This code is over") {
		t.Errorf("an answer after that: %d %s", a.StatusCode, a.body)
	}
}

// Whoever tries codes is stopped: an address soon, many addresses together later. No code
// of another is taken meanwhile, and the trail tells of it.
func TestUserCodesCannotBeGuessed(t *testing.T) {
	w := newDeviceWorld(t)
	for range ratelimit.Device.Client.Burst {
		w.ask("")
	}
	b := newBrowser()
	form := w.codeForm(b)
	guess := func(address string) answer {
		form.Set("user_code", oauth.NewUserCode())
		return w.do(b, w.request(http.MethodPost, w.url+"/device", form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "X-Forwarded-For", address))
	}
	tried := 0
	flood := func(address func(i int) string) (passed int) {
		for i := range 400 {
			switch a := guess(address(i)); {
			case a.StatusCode == 429:
				if a.Header.Get("Retry-After") == "" || !strings.Contains(a.body, "Too many codes were entered") {
					t.Fatalf("%v %s", a.Header, a.body)
				}
			case a.StatusCode == 400 && strings.Contains(a.body, "This code is unknown"):
				passed++
			default:
				t.Fatalf("a guess: %d %s", a.StatusCode, a.body)
			}
		}
		tried += passed
		return passed
	}
	if n := flood(func(int) string { return "198.51.100.1" }); n != ratelimit.DeviceCode.Address.Burst {
		t.Errorf("one address tried %d", n)
	}
	w.limitedOnce(t, "device_code")
	if n := flood(func(i int) string { return fmt.Sprintf("2001:db8:1:%x::1", i) }); n > 8*ratelimit.DeviceCode.Address.Burst {
		t.Errorf("one network tried %d", n)
	}
	flood(func(i int) string { return fmt.Sprintf("203.0.%d.%d", i/200, i%200) })
	if tried != ratelimit.DeviceCode.All.Burst {
		t.Errorf("all together tried %d", tried)
	}
	if !strings.Contains(w.trail.String(), `FJMCP_EVENT=rate_limited FJMCP_OUTCOME=device_code FJMCP_DETAIL="from all addresses: more than 300 at once, 1 a second"`) {
		t.Errorf("the trail:\n%s", w.trail)
	}
	w.advance(time.Minute)
	d := w.ask("")
	d.agree()
}

// A client that asks without end is stopped before anything is stored.
func TestDeviceRequestsAreLimited(t *testing.T) {
	w := newDeviceWorld(t)
	id := w.register(deviceBody)["client_id"].(string)
	ask := func(headers ...string) answer {
		return w.post("/oauth/device_authorization", w.deviceForm(id), headers...)
	}
	until429(t, ratelimit.Device.Client.Burst, 200, func() answer { return ask() }).wantError(t, 429, "temporarily_unavailable", "too many devices")
	w.limitedOnce(t, "device")
	if a := ask("X-Forwarded-For", "203.0.113.9"); a.StatusCode != 200 {
		t.Errorf("another address: %d", a.StatusCode)
	}
	for i := range 2 * ratelimit.Device.All.Burst {
		ask("X-Forwarded-For", fmt.Sprintf("203.%d.%d.1", i/100, i%100))
	}
	if n := w.count("SELECT COUNT(*) FROM device_requests"); n != ratelimit.Device.All.Burst {
		t.Errorf("%d requests are stored", n)
	}
	w.advance(12 * time.Hour)
	w.must(w.store.Collect(t.Context()))
	if n := w.count("SELECT COUNT(*) FROM device_requests"); n != 0 {
		t.Errorf("%d requests are left", n)
	}
}

// A poll too many is answered in words that a client knows, until it is only noise.
func TestPollsAreLimited(t *testing.T) {
	w := newDeviceWorld(t)
	d := w.ask("")
	d.poll().wantError(t, 400, "authorization_pending", "")
	until429(t, ratelimit.Token.Client.Burst, 400, func() answer { return d.poll() }).wantError(t, 429, "temporarily_unavailable", "too many failed requests")
}
