package authserver_test

import (
	"database/sql"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

const deviceBody = `{"client_name":"Box","grant_types":["urn:ietf:params:oauth:grant-type:device_code","refresh_token"],"token_endpoint_auth_method":"none"}`

func newDeviceWorld(t testing.TB) *world {
	w := newWorld(t)
	w.devices = true
	w.restart()
	return w
}

// device is a client without a browser that has asked.
type device struct {
	w                  *world
	client, code, user string
	interval           time.Duration
}

func (w *world) deviceForm(client string, changes ...string) url.Values {
	v := url.Values{"client_id": {client}}
	change(v, changes)
	return v
}

// ask registers body, if it is not empty, and asks for access.
func (w *world) ask(client string, changes ...string) device {
	w.t.Helper()
	if client == "" {
		client = w.register(deviceBody)["client_id"].(string)
	}
	a := w.post("/oauth/device_authorization", w.deviceForm(client, changes...))
	if a.StatusCode != http.StatusOK {
		w.t.Fatalf("device authorization: %d %s", a.StatusCode, a.body)
	}
	v := a.json(w.t)
	return device{w, client, v["device_code"].(string), v["user_code"].(string), time.Duration(v["interval"].(float64)) * time.Second}
}

func (d device) form(changes ...string) url.Values {
	v := url.Values{"grant_type": {oauth.GrantDevice}, "client_id": {d.client}, "device_code": {d.code}}
	change(v, changes)
	return v
}

// poll asks at once, wait when it is time to.
func (d device) poll(changes ...string) answer { return d.w.post("/oauth/token", d.form(changes...)) }

func (d device) wait() answer {
	d.w.advance(d.interval)
	return d.poll()
}

// enter has a person enter the code and answer the question. It returns the last page.
func (d device) enter(b *loginclient.Browser) (string, error) {
	b.UserCode = d.user
	return b.EnterCode(d.w.t.Context(), d.w.url+"/device")
}

func alice() *loginclient.Browser { return loginclient.NewBrowser(nil, "alice", "alice-password") }

func (d device) agree() {
	d.w.t.Helper()
	if text, err := d.enter(alice()); err != nil || !strings.Contains(text, "The device is connected") {
		d.w.t.Fatalf("%q, %v", text, err)
	}
}

// The whole way: what each party is told, and that the tokens are a login as any other.
func TestDeviceFlow(t *testing.T) {
	w := newDeviceWorld(t)
	client := w.register(deviceBody)
	if types := client["grant_types"].([]any); len(types) != 2 || !slices.Contains(types, any(oauth.GrantDevice)) || len(client["response_types"].([]any)) != 0 {
		t.Errorf("registered: %v", client)
	}
	a := w.post("/oauth/device_authorization", w.deviceForm(client["client_id"].(string), "scope", "openid", "resource", w.url+"/mcp"))
	v := a.json(t)
	code := v["user_code"].(string)
	if a.StatusCode != 200 || a.Header.Get("Cache-Control") != "no-store" || v["verification_uri"] != w.url+"/device" ||
		v["verification_uri_complete"] != w.url+"/device?user_code="+code || v["expires_in"] != 600. || v["interval"] != 5. {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	d := device{w, client["client_id"].(string), v["device_code"].(string), code, 5 * time.Second}
	d.poll().wantError(t, 400, "authorization_pending", "not answered")
	b := alice()
	b.Choose = map[string]string{"access": "read"}
	text, err := d.enter(b)
	if err != nil || !strings.Contains(text, "It can use the account alice at ") {
		t.Fatalf("%q, %v", text, err)
	}
	got := d.wait()
	tokens := got.json(t)
	if got.StatusCode != 200 || tokens["scope"] != "forgejo:read" || got.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	access, err := w.access(tokens["access_token"].(string))
	if err != nil || access.User.Name != "alice" || access.Client != "Box" || w.redeemed.Load() != 1 {
		t.Errorf("%+v, %v, %d redeemed", access, err, w.redeemed.Load())
	}
	refreshed := w.post("/oauth/token", client2(d).refreshForm(tokens["refresh_token"].(string)))
	if refreshed.StatusCode != 200 || refreshed.json(t)["scope"] != "forgejo:read" {
		t.Errorf("refresh: %d %s", refreshed.StatusCode, refreshed.body)
	}
	for _, want := range []string{"FJMCP_EVENT=client_registered", `FJMCP_DETAIL="by a code; asked for from 127.0.0.1"`, "FJMCP_EVENT=token_issued"} {
		if !strings.Contains(w.trail.String(), want) {
			t.Errorf("the trail lacks %s:\n%s", want, w.trail)
		}
	}
	for _, secret := range []string{d.code, d.user, strings.ReplaceAll(d.user, "-", ""), tokens["access_token"].(string)} {
		if strings.Contains(w.trail.String(), secret) {
			t.Errorf("%s is in the log", secret)
		}
	}
}

func client2(d device) client { return client{id: d.client} }

// The answers of RFC 8628 §3.5 and RFC 6749 §5.2.
func TestDeviceRefusals(t *testing.T) {
	w := newDeviceWorld(t)
	secret := w.register(strings.Replace(deviceBody, `"none"`, `"client_secret_post"`, 1))
	plain := w.newClient()
	for name, tc := range map[string]struct {
		form       url.Values
		status     int
		code, text string
	}{
		"unknown client":     {w.deviceForm("nobody"), 401, "invalid_client", "not registered"},
		"no client":          {w.deviceForm(""), 401, "invalid_client", ""},
		"no secret":          {w.deviceForm(secret["client_id"].(string)), 401, "invalid_client", "secret is wrong"},
		"another client":     {w.deviceForm(plain.id), 400, "unauthorized_client", "has not registered for"},
		"another resource":   {w.deviceForm(secret["client_id"].(string), "client_secret", secret["client_secret"].(string), "resource", "https://elsewhere.example/mcp"), 400, "invalid_target", ""},
		"a parameter twice":  {url.Values{"client_id": {plain.id}, "scope": {"a", "b"}}, 400, "invalid_request", "more than once"},
		"a document unasked": {w.deviceForm("https://app.example/client.json"), 401, "invalid_client", "not registered"},
	} {
		t.Run(name, func(t *testing.T) {
			w.post("/oauth/device_authorization", tc.form).wantError(t, tc.status, tc.code, tc.text)
		})
	}
	if a := w.post("/oauth/device_authorization", w.deviceForm(secret["client_id"].(string), "client_secret", secret["client_secret"].(string))); a.StatusCode != 200 {
		t.Errorf("with its secret: %d %s", a.StatusCode, a.body)
	}
	d := w.ask("", "resource", w.url+"/mcp")
	other := w.ask(w.register(strings.Replace(deviceBody, "Box", "Other", 1))["client_id"].(string))
	for name, tc := range map[string]struct {
		changes    []string
		code, text string
	}{
		"no code":          {[]string{"device_code", ""}, "invalid_request", "device_code is missing"},
		"unknown code":     {[]string{"device_code", "fjd_nothing"}, "invalid_grant", "unknown"},
		"the user's code":  {[]string{"device_code", d.user}, "invalid_grant", "unknown"},
		"another's code":   {[]string{"device_code", other.code}, "invalid_grant", "another client"},
		"as another":       {[]string{"client_id", other.client}, "invalid_grant", "another client"},
		"not registered":   {[]string{"client_id", plain.id}, "unauthorized_client", "has not registered for"},
		"another resource": {[]string{"resource", w.url + "/mcp/x/issues"}, "invalid_target", "not that of"},
	} {
		t.Run(name, func(t *testing.T) { d.poll(tc.changes...).wantError(t, 400, tc.code, tc.text) })
	}
	// None of these was a poll of the device.
	d.poll().wantError(t, 400, "authorization_pending", "")
}

// A poll before its time costs five seconds more, for good, and each of them.
func TestDeviceSlowDown(t *testing.T) {
	w := newDeviceWorld(t)
	d, quiet := w.ask(""), w.ask("")
	after := func(wait time.Duration, want string) {
		t.Helper()
		w.advance(wait)
		d.poll().wantError(t, 400, want, "")
	}
	after(0, "authorization_pending")
	after(3*time.Second, "slow_down")
	after(5*time.Second, "slow_down")
	after(13*time.Second, "slow_down") // 15 s by now
	after(20*time.Second, "authorization_pending")
	after(20*time.Second, "authorization_pending")
	quiet.poll().wantError(t, 400, "authorization_pending", "") // it is each device's own
	w.restart()
	after(6*time.Second, "slow_down")
	d.agree()
	after(6*time.Second, "slow_down") // agreed or not
	w.advance(30 * time.Second)
	if a := d.poll(); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestDeviceDenied(t *testing.T) {
	w := newDeviceWorld(t)
	d := w.ask("")
	b := alice()
	b.Deny = true
	if text, err := d.enter(b); err != nil || !strings.Contains(text, "it was an attempt to get into your account") {
		t.Fatalf("%q, %v", text, err)
	}
	d.poll().wantError(t, 400, "access_denied", "")
	if _, err := d.enter(alice()); err == nil || !strings.Contains(err.Error(), "This code is unknown") {
		t.Errorf("entered again: %v", err)
	}
	if !strings.Contains(w.trail.String(), `level=WARN msg=audit FJMCP_EVENT=device_denied FJMCP_CLIENT=Box FJMCP_OUTCOME=denied FJMCP_DETAIL="on the page that asks; asked for from 127.0.0.1"`) {
		t.Errorf("the trail:\n%s", w.trail)
	}
}

func TestDeviceExpires(t *testing.T) {
	w := newDeviceWorld(t)
	d, agreed := w.ask(""), w.ask("")
	agreed.agree()
	w.advance(10*time.Minute - time.Second)
	d.poll().wantError(t, 400, "authorization_pending", "")
	w.advance(time.Second)
	d.poll().wantError(t, 400, "slow_down", "")
	w.advance(10 * time.Second)
	d.poll().wantError(t, 400, "expired_token", "")
	agreed.poll().wantError(t, 400, "expired_token", "")
	if _, err := d.enter(alice()); err == nil || !strings.Contains(err.Error(), "This code is unknown") {
		t.Errorf("entered: %v", err)
	}
	w.advance(2 * time.Hour)
	w.must(w.store.Collect(t.Context()))
	d.poll().wantError(t, 400, "invalid_grant", "unknown")
}

// A code is good once. Of polls at one time one gets tokens, which stay good; a later one
// is somebody else's, and ends the login.
func TestDeviceCodeIsGoodOnce(t *testing.T) {
	w := newDeviceWorld(t)
	d := w.ask("")
	d.agree()
	var polls sync.WaitGroup
	answers := make([]answer, 8)
	for i := range answers {
		polls.Go(func() { answers[i] = d.poll() })
	}
	polls.Wait()
	var access string
	for _, a := range answers {
		if a.StatusCode != 200 {
			a.wantError(t, 400, "slow_down", "")
			continue
		}
		if access != "" {
			t.Error("redeemed twice")
		}
		access = a.json(t)["access_token"].(string)
	}
	if err := w.bearer(access); err != nil {
		t.Errorf("the tokens: %v", err)
	}
	w.advance(time.Minute)
	d.poll().wantError(t, 400, "invalid_grant", "already used")
	if err := w.bearer(access); err == nil {
		t.Error("a code that came again did not end the login")
	}
	if !strings.Contains(w.trail.String(), `FJMCP_DETAIL="the device code was used again`) || w.ended.Load() != 1 {
		t.Errorf("%d ended; the trail:\n%s", w.ended.Load(), w.trail)
	}
}

// Two people with one code: the first who finishes has it.
func TestDeviceInTwoBrowsers(t *testing.T) {
	w := newDeviceWorld(t)
	d := w.ask("")
	one, two := newBrowser(), newBrowser()
	there := w.deviceAtForge(one, d, "alice")
	form := w.question(two, d.user)
	// Neither answers for the other.
	if a := w.do(one, w.request(http.MethodPost, w.url+"/device/answer", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")); a.StatusCode != 403 || !strings.Contains(a.body, "does not belong to this browser") {
		t.Errorf("another browser's form: %d %s", a.StatusCode, a.body)
	}
	if a := w.do(two, w.request(http.MethodGet, there, "")); a.StatusCode != 403 || !strings.Contains(a.body, "started in another browser") {
		t.Errorf("another browser's callback: %d", a.StatusCode)
	}
	also := w.deviceAtForge(two, d, "bob")
	if a := w.do(one, w.request(http.MethodGet, there, "")); a.StatusCode != 200 || !strings.Contains(a.body, "The device is connected") {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	if a := w.do(two, w.request(http.MethodGet, also, "")); a.StatusCode != 400 || !strings.Contains(a.body, "This code is over") {
		t.Errorf("the second: %d %s", a.StatusCode, a.body)
	}
	access, err := w.access(d.wait().json(t)["access_token"].(string))
	if err != nil || access.User.Name != "alice" {
		t.Errorf("%+v, %v", access, err)
	}
	// Nothing of the second is kept.
	if n := w.count("SELECT COUNT(*) FROM forgejo_tokens"); n != 1 {
		t.Errorf("%d token sets", n)
	}
}

// codeForm opens the page and returns its form.
func (w *world) codeForm(b *http.Client) url.Values {
	w.t.Helper()
	return w.fields(w.do(b, w.request(http.MethodGet, w.url+"/device", "")), 200)
}

func (w *world) enter(b *http.Client, form url.Values, code string) answer {
	w.t.Helper()
	form.Set("user_code", code)
	return w.do(b, w.request(http.MethodPost, w.url+"/device", form.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
}

// question enters a code and returns the form of the question.
func (w *world) question(b *http.Client, code string) url.Values {
	w.t.Helper()
	return w.fields(w.enter(b, w.codeForm(b), code), 200)
}

func (w *world) answerQuestion(b *http.Client, form url.Values, decision string) answer {
	w.t.Helper()
	change(form, []string{"decision", decision, "access", "write"})
	return w.do(b, w.request(http.MethodPost, w.url+"/device/answer", form.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
}

// deviceAtForge agrees and logs in at the forge. It returns the callback URL.
func (w *world) deviceAtForge(b *http.Client, d device, user string) string {
	w.t.Helper()
	to := w.answerQuestion(b, w.question(b, d.user), "allow").location(w.t)
	back, err := loginclient.NewBrowser(nil, user, user+"-password").Authorize(w.t.Context(), to.String())
	w.must(err)
	return back.URL.String()
}

// fields are the hidden fields of a page.
func (w *world) fields(page answer, status int) url.Values {
	w.t.Helper()
	if page.StatusCode != status {
		w.t.Fatalf("%d %s", page.StatusCode, page.body)
	}
	form := url.Values{}
	for _, field := range hidden.FindAllStringSubmatch(page.body, -1) {
		form.Set(field[1], html.UnescapeString(field[2]))
	}
	return form
}

// count is what a query of the database counts.
func (w *world) count(query string) (n int) {
	w.t.Helper()
	db, err := sql.Open("sqlite", w.path)
	w.must(err)
	defer db.Close()
	w.must(db.QueryRowContext(w.t.Context(), query).Scan(&n))
	return n
}
