package attack

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"

	"github.com/fjmcp/fjmcp-broker/internal/test/e2e"
)

const (
	honestURI = "https://client.example/cb"
	formType  = "application/x-www-form-urlencoded"
	verifier  = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHI"
)

// reply is an answer of the broker's.
type reply struct {
	*http.Response
	body string
}

var source atomic.Uint32

// stranger is an address that has not asked yet.
func stranger() string {
	n := source.Add(1)
	return fmt.Sprintf("X-Forwarded-For: 198.18.%d.%d", n>>8&255, n&255)
}

// http sends one request to the broker, from an address that nobody knows, unless the
// headers say another. Headers are whole lines.
func (w *world) http(method, path, body string, headers ...string) reply {
	return w.browse(w.s.HTTP(), method, path, body, headers...)
}

func (w *world) browse(c *http.Client, method, path, body string, headers ...string) reply {
	if strings.HasPrefix(path, "/") {
		path = e2e.PublicURL + path
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, path, strings.NewReader(body))
	w.must(err)
	for _, line := range append([]string{stranger()}, headers...) {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
	resp, err := c.Do(r)
	w.must(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	w.must(err)
	return reply{resp, string(b)}
}

// person is a browser of a person's.
func (w *world) person() *http.Client {
	jar, err := cookiejar.New(nil)
	w.must(err)
	c := w.s.HTTP()
	c.Jar = jar
	return c
}

func (w *world) register(document string) reply {
	return w.http("POST", "/oauth/register", document, "Content-Type: application/json")
}

// client registers a client and returns its id.
func (w *world) client(name, redirect string) string {
	b, err := json.Marshal(map[string]any{"client_name": name, "redirect_uris": []string{redirect}, "token_endpoint_auth_method": "none"})
	w.must(err)
	r := w.register(string(b))
	var got struct {
		ID string `json:"client_id"`
	}
	if json.Unmarshal([]byte(r.body), &got) != nil || got.ID == "" {
		w.must(fmt.Errorf("no client: %d %s", r.StatusCode, r.body))
	}
	return got.ID
}

// authorization is an honest authorization request, with changes.
func authorization(client string, changes ...string) string {
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{
		"response_type": {"code"}, "client_id": {client}, "redirect_uri": {honestURI}, "state": {"s"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	for i := 0; i+1 < len(changes); i += 2 {
		if q.Del(changes[i]); changes[i+1] != "" {
			q.Set(changes[i], changes[i+1])
		}
	}
	return "/oauth/authorize?" + q.Encode()
}

// code has alice log in to a client, and returns the code that it gets.
func (w *world) code(client string) string {
	back, err := w.s.Browser("alice", nil).Authorize(w.t.Context(), e2e.PublicURL+authorization(client))
	w.must(err)
	return back.Code
}

// redeem is an honest token request, with changes.
func (w *world) redeem(client, code string, changes ...string) reply {
	return w.tokenRequest(append([]string{"grant_type", "authorization_code", "client_id", client, "code", code, "redirect_uri", honestURI, "code_verifier", verifier}, changes...)...)
}

func (w *world) tokenRequest(pairs ...string) reply {
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if form.Del(pairs[i]); pairs[i+1] != "" {
			form.Set(pairs[i], pairs[i+1])
		}
	}
	return w.http("POST", "/oauth/token", form.Encode(), "Content-Type: "+formType)
}

func (r reply) field(name string) string {
	var all map[string]any
	_ = json.Unmarshal([]byte(r.body), &all)
	text, _ := all[name].(string)
	return text
}

// denied wants a refusal of the request's and no way elsewhere.
func (r reply) denied(elsewhere ...string) result {
	at := r.Header.Get("Location")
	for _, place := range elsewhere {
		if strings.Contains(at, place) {
			return verdict(false, "sent to %s", at)
		}
	}
	return verdict(r.StatusCode >= 400 && r.StatusCode < 500, "%d %s %s", r.StatusCode, at, first(r.body))
}

func first(s string) string { return s[:min(len(s), 120)] }

var redirects = []string{
	"javascript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "blob:https://x/1", "about:blank", "http://evil.example/cb", "https://client.example/cb#f", "https://user@client.example/cb", "https://user:pw@client.example/cb",
	"//evil.example/cb", "/cb", "cb", "", "https://", "https:///cb", "https:client.example", `https://client.example\@evil.example/`, "https://client.example/\ncb", "https://client.example/ cb", "http://127.0.0.1.evil.example/cb", "http://0.0.0.0/cb", "http://[::]/cb",
	"http://localhost.evil.example/cb", "https://клиент.example/cb", "ftp://client.example/", "ws://client.example/", "urn:x:y", "*", "https://client.example/" + strings.Repeat("a", 3000), "app:/cb", "http://10.0.0.1/cb", "HTTP://evil.example/",
}

func networkRegistration() (all []attack) {
	for _, uri := range redirects {
		all = append(all, attack{who: "N", name: fmt.Sprintf("register the redirect URI %.60q", uri), right: "refused", out: func(w *world) result {
			b, err := json.Marshal(map[string]any{"client_name": "x", "redirect_uris": []string{uri}})
			w.must(err)
			return w.register(string(b)).denied()
		}})
	}
	documents := map[string]string{
		"a list for an object":         `[]`,
		"no redirect URI":              `{"redirect_uris":[]}`,
		"a number for a redirect URI":  `{"redirect_uris":[1]}`,
		"the implicit grant":           `{"redirect_uris":["` + honestURI + `"],"grant_types":["implicit"],"response_types":["token"]}`,
		"the password grant":           `{"redirect_uris":["` + honestURI + `"],"grant_types":["password"]}`,
		"a key set of a symmetric key": `{"redirect_uris":["` + honestURI + `"],"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[{"kty":"oct","k":"AAAA"}]}}`,
		"no key for its assertions":    `{"redirect_uris":["` + honestURI + `"],"token_endpoint_auth_method":"private_key_jwt"}`,
		"assertions without signature": `{"redirect_uris":["` + honestURI + `"],"token_endpoint_auth_method":"private_key_jwt","token_endpoint_auth_signing_alg":"none","jwks":{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}}`,
		"a script as its address":      `{"redirect_uris":["` + honestURI + `"],"client_uri":"javascript:alert(1)"}`,
		"deep nesting":                 strings.Repeat("[", 20000) + strings.Repeat("]", 20000),
		"a thousand redirect URIs":     `{"redirect_uris":["` + honestURI + `"` + strings.Repeat(`,"`+honestURI+`?aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"`, 1000) + `]}`,
		"a document without end":       `{"client_name":"` + strings.Repeat("a", 200<<10) + `"}`,
		"two values of a name":         `{"redirect_uris":["` + honestURI + `"],"redirect_uris":["javascript:alert(1)"]}`,
	}
	for _, name := range sorted(documents) {
		document := documents[name]
		all = append(all, attack{who: "N", name: "register " + name, right: "refused", out: func(w *world) result {
			r := w.register(document)
			if name == "a script as its address" && r.StatusCode == 201 {
				return verdict(!strings.Contains(r.body, "javascript"), "taken without the address")
			}
			return r.denied()
		}})
	}
	return append(all,
		attack{who: "N", name: "read, change and remove a registration of others", right: "refused", out: func(w *world) result {
			id := w.client("registered", honestURI)
			last := result{}
			for _, method := range []string{"GET", "PUT", "DELETE"} {
				for _, auth := range []string{"Accept: */*", "Authorization: Bearer x", "Authorization: Bearer " + id} {
					if last = w.http(method, "/oauth/register/"+id, "{}", auth).denied(); !last.OK {
						return last
					}
				}
			}
			return last
		}},
		attack{who: "N", name: "widen a registration by taking its id apart", right: "refused", out: func(w *world) result {
			id := w.client("registered", honestURI)
			last := result{}
			for _, forged := range []string{id + "x", id[:len(id)-1], strings.ToUpper(id), id + ".", "." + id, flip(id), id + "=", id + "\x00"} {
				if forged == id {
					continue
				}
				if last = w.http("GET", authorization(forged), "").denied("client.example"); !last.OK {
					return verdict(false, "%q: %s", forged, last.Got)
				}
			}
			return last
		}},
	)
}

// flip changes a character in the middle.
func flip(s string) string {
	b := []byte(s)
	if at := len(b) / 2; b[at] == 'A' {
		b[at] = 'B'
	} else {
		b[at] = 'A'
	}
	return string(b)
}

// astray changes an honest request, and wants a page and no way to the client, since
// nobody has agreed to anything.
func astray(name string, changes ...string) attack {
	return attack{who: "N", name: "ask for authorization with " + name, right: "a page, no redirection", out: func(w *world) result {
		return w.http("GET", authorization(w.client("honest", honestURI), changes...), "").denied("client.example", "evil")
	}}
}

func networkAuthorize() []attack {
	all := []attack{
		astray("an unknown client", "client_id", "nobody"), astray("no client", "client_id", ""), astray("no challenge", "code_challenge", ""), astray("a plain challenge", "code_challenge_method", "plain"),
		astray("no method of challenge", "code_challenge_method", ""), astray("a token for response", "response_type", "token"), astray("a code and a token", "response_type", "code token"), astray("an ID token", "response_type", "id_token"),
		astray("another resource", "resource", "https://evil.example/mcp"), astray("a resource below ours", "resource", e2e.PublicURL+"/mcp/../admin"), astray("a state without end", "state", strings.Repeat("s", 8000)), astray("a challenge that is too short", "code_challenge", "abc"),
		{who: "N", name: "ask for authorization with a parameter twice", right: "a page, no redirection", out: func(w *world) result {
			return w.http("GET", authorization(w.client("honest", honestURI))+"&redirect_uri=https://evil.example/", "").denied("evil", "client.example")
		}},
		{who: "N", name: "have a consent page without a browser's rules", right: "no frame, no script, no cache", out: func(w *world) result {
			r := w.http("GET", authorization(w.client("honest", honestURI)), "")
			policy := r.Header.Get("Content-Security-Policy")
			ok := strings.Contains(policy, "frame-ancestors 'none'") && strings.Contains(policy, "default-src 'none'") && !strings.Contains(policy, "unsafe") && r.Header.Get("X-Frame-Options") == "DENY" &&
				r.Header.Get("Cache-Control") == "no-store" && r.Header.Get("X-Content-Type-Options") == "nosniff" && r.Header.Get("Access-Control-Allow-Origin") == ""
			return verdict(ok && r.StatusCode == 200, "%d %v", r.StatusCode, r.Header)
		}},
		consent("without the form's token", func(form url.Values) { form.Del("form_token") }, true),
		consent("with another's form token", func(form url.Values) { form.Set("form_token", flip(form.Get("form_token"))) }, true),
		consent("with a redirect URI that was not shown", func(form url.Values) { form.Set("redirect_uri", "https://evil.example/") }, true),
		consent("with a scope that was not shown", func(form url.Values) { form.Set("scope", "forgejo:read") }, true),
		consent("with a challenge that was not shown", func(form url.Values) { form.Set("code_challenge", strings.Repeat("A", 43)) }, true),
		consent("from another browser", func(url.Values) {}, false),
		{who: "N", name: "finish a login that another browser began", right: "refused", out: func(w *world) result {
			victim := w.person()
			page := w.browse(victim, "GET", authorization(w.client("honest", honestURI)), "")
			sent := w.browse(victim, "POST", "/oauth/authorize", fields(page.body).Encode(), "Content-Type: "+formType, "Origin: "+e2e.PublicURL)
			at, err := url.Parse(sent.Header.Get("Location"))
			if err != nil || at.Query().Get("state") == "" {
				return verdict(false, "cannot try: sent to %s", sent.Header.Get("Location"))
			}
			return w.http("GET", "/oauth/callback?code=gta_0123456789&state="+url.QueryEscape(at.Query().Get("state")), "").denied("client.example")
		}},
		{who: "N", name: "call back with a made-up state", right: "a page, no redirection", out: func(w *world) result {
			last := result{}
			for _, q := range []string{"", "code=x", "state=x&code=y", "state=%00&code=y", "error=access_denied&state=x", "state=x&state=y&code=z", "code=x&state=" + strings.Repeat("a", 5000)} {
				if last = w.http("GET", "/oauth/callback?"+q, "").denied("http"); !last.OK {
					return last
				}
			}
			return last
		}},
		{who: "N", name: "change an account's connections from another site", right: "nothing is changed", out: func(w *world) result {
			last := result{}
			for _, path := range []string{"/account/disconnect", "/account/logout", "/account/login"} {
				r := w.http("POST", path, "client=x&form_token=y", "Content-Type: "+formType, "Origin: https://evil.example", "Sec-Fetch-Site: cross-site")
				if last = verdict(r.StatusCode >= 400 || strings.HasPrefix(r.Header.Get("Location"), e2e.PublicURL), "%d %s", r.StatusCode, r.Header.Get("Location")); !last.OK {
					return last
				}
			}
			return last
		}},
		{who: "N", name: "be redirected to where a parameter says", right: "never elsewhere", out: func(w *world) result {
			for _, path := range []string{"/account?return_to=https://evil.example/", "/account/login?next=//evil.example", "/?url=https://evil.example", "//evil.example/%2e%2e", "/oauth/callback?redirect_uri=https://evil.example", `/\evil.example`, "/account/..//evil.example", "/mcp//evil.example"} {
				at := w.http("GET", path, "").Header.Get("Location")
				if to, err := url.Parse(strings.ReplaceAll(at, `\`, "/")); err != nil || strings.Contains(to.Host, "evil") {
					return verdict(false, "%s leads to %s", path, at)
				}
			}
			return result{true, "nowhere"}
		}},
		{who: "N", name: "mix servers up", right: "each answer names its issuer", out: func(w *world) result {
			client := w.client("honest", honestURI)
			back, err := w.s.Browser("alice", nil).Authorize(w.t.Context(), e2e.PublicURL+authorization(client))
			w.must(err)
			return verdict(back.Iss == e2e.PublicURL && back.State == "s", "iss %q, state %q", back.Iss, back.State)
		}},
	}
	for _, uri := range []string{honestURI + "/", honestURI + "?a=b", honestURI + "/../x", "https://client.example/CB", "https://CLIENT.example/cb", "https://client.example:443/cb", "https://client.example:8443/cb", "http://client.example/cb", "https://client.example.evil.example/cb",
		"https://evil.example/https://client.example/cb", "https://client.example@evil.example/cb", "https://client.example/cb#x", "https://client.example/%63b", "https://client.example/cb\x00", "https://client.example//cb", "https://sub.client.example/cb", "https://client.example/cb%2f..%2fevil", "javascript:alert(1)//client.example/cb"} {
		all = append(all, astray(fmt.Sprintf("the redirect URI %q", uri), "redirect_uri", uri))
	}
	return all
}

// consent sends a changed form of consent, and wants it to be refused.
func consent(name string, change func(url.Values), sameBrowser bool) attack {
	return attack{who: "N", name: "agree in a user's place " + name, right: "refused", out: func(w *world) result {
		browser := w.person()
		page := w.browse(browser, "GET", authorization(w.client("evil", honestURI)), "")
		form := fields(page.body)
		if form.Get("form_token") == "" {
			return verdict(false, "cannot try: no form in %s", page.body)
		}
		change(form)
		if !sameBrowser {
			browser = w.person()
		}
		return w.browse(browser, "POST", "/oauth/authorize", form.Encode(), "Content-Type: "+formType, "Origin: https://evil.example", "Sec-Fetch-Site: cross-site").denied("forgejo", "client.example")
	}}
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// fields are those of the page's form, as if it had been agreed to.
func fields(page string) url.Values {
	form := url.Values{"decision": {"allow"}, "access": {"write"}}
	for _, m := range hidden.FindAllStringSubmatch(page, -1) {
		form.Set(m[1], strings.NewReplacer("&#43;", "+", "&amp;", "&", "&#34;", `"`, "&#39;", "'", "&lt;", "<", "&gt;", ">").Replace(m[2]))
	}
	return form
}

// guess is as long as a token of ours.
func guess() string { return "fja_" + rand.Text() + rand.Text() }
