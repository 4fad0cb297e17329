package authserver_test

import (
	"encoding/base64"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

// hostileEndpoint is one endpoint with the parameters of a good request.
type hostileEndpoint struct {
	method, path string
	good         url.Values
	json         string // a good body, of endpoints that take JSON
}

func hostileEndpoints(w *world) []hostileEndpoint {
	c := w.newClient()
	code := w.logIn(c)
	_, refresh := w.tokens(c, w.logIn(c))
	assertion := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"fjr_x"}, "client_assertion_type": {oauth.AssertionType}, "client_assertion": {"e30.e30.AA"}}
	authorize := c.authorizeQuery("resource", w.url+"/mcp", "scope", "openid")
	document := c.authorizeQuery("client_id", appID)
	decision := c.authorizeQuery("form_token", strings.Repeat("0", 64), "decision", "allow")
	return []hostileEndpoint{
		{"GET", "/oauth/authorize", authorize, ""}, {"GET", "/oauth/authorize", document, ""}, {"GET", "/authorize", authorize, ""},
		{"POST", "/oauth/authorize", decision, ""}, {"POST", "/authorize", decision, ""},
		{"GET", "/oauth/callback", url.Values{"state": {"x"}, "code": {"y"}, "error": {"access_denied"}}, ""},
		{"POST", "/oauth/token", c.tokenForm(code, "code_verifier", strings.Repeat("w", 43)), ""}, {"POST", "/token", c.refreshForm(refresh + "x"), ""},
		{"POST", "/oauth/token", assertion, ""},
		{"POST", "/oauth/revoke", url.Values{"token": {"fjr_x"}, "client_id": {c.id}, "token_type_hint": {"refresh_token"}}, ""},
		{"POST", "/oauth/introspect", url.Values{"token": {"fja_x"}, "client_id": {c.id}}, ""},
		{"POST", "/oauth/register", nil, `{"client_name":"x","redirect_uris":["http://127.0.0.1/"],"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[]},"scope":"x","grant_types":["authorization_code"]}`},
		{"POST", "/register", nil, `{"redirect_uris":["http://127.0.0.1/"],"token_endpoint_auth_method":"none","client_uri":"https://a.example","response_types":["code"]}`},
		{"GET", "/.well-known/oauth-authorization-server", url.Values{}, ""}, {"GET", "/.well-known/oauth-protected-resource/mcp", url.Values{}, ""},
		{"GET", "/oauth/jwks", url.Values{}, ""},
	}
}

// hostileValues go in the place of every parameter.
var hostileValues = map[string]string{
	"empty": "", "NUL": "a\x00b", "NUL alone": "\x00", "newline": "a\r\nSet-Cookie: x=y", "tab": "\t", "invalid UTF-8": "\xff\xfe\xc0\x80", "surrogate": "\xed\xa0\x80",
	"overlong": "\xc0\xaf", "bidi": "\u202egnp.exe", "emoji": "🦊", "quotes": `"'\` + "`", "markup": "<script>alert(1)</script>", "template": "{{.}}${7*7}%s%n",
	"SQL": "' OR 1=1; DROP TABLE clients;--", "path": "../../etc/passwd", "per cent": "%00%2e%zz", "semicolon": "a;b", "plus": "+", "spaces": "  ",
	"kilobyte": strings.Repeat("k", 1<<10), "long": strings.Repeat("l", 9<<10), "number": "18446744073709551616", "negative": "-1", "float": "NaN", "boolean": "true", "null": "null",
	"JSON": `{"a":[1]}`, "URL": "https://evil.example/", "loopback URL": "http://127.0.0.1:1/", "metadata service": "https://169.254.169.254/latest", "javascript": "javascript:alert(1)",
	"userinfo": "https://a:b@evil.example/", "IPv6": "http://[::1%25lo]:99999/", "bad port": "http://localhost:port/", "data": "data:text/html,x", "dots": "https://app.example/../..",
	"private network": "https://10.0.0.1/c", "document of another": "https://app.example/other.json", "JWT": "eyJhbGciOiJub25lIn0.e30.", "two JWTs": "a.b.c.d.e",
}

// hostileHeaders come with an otherwise good request.
var hostileHeaders = [][2]string{
	{"Authorization", "Basic"}, {"Authorization", "Basic !!!"}, {"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("\x00:\xff"))},
	{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 4000)+":"))}, {"Authorization", "Bearer \x7f"}, {"Authorization", "Digest username=\"x\""},
	{"Authorization", strings.Repeat("A", 8000)}, {"Content-Type", "text/plain"}, {"Content-Type", "application/x-www-form-urlencoded; charset=\x7f"}, {"Content-Type", "multipart/form-data"},
	{"Content-Type", "multipart/form-data; boundary=x"}, {"Content-Type", ""}, {"Content-Type", "application/json"}, {"Content-Encoding", "gzip"}, {"Accept", "application/json"}, {"Accept", "*/*;q=NaN"},
	{"Cookie", "fjmcp-browser=" + strings.Repeat("c", 43)}, {"Cookie", "fjmcp-browser=\"; x=\x7f"}, {"Origin", "null"}, {"Origin", "https://evil.example"}, {"X-Forwarded-For", "\x7f,,::1%eth0"}, {"Host", "evil.example"},
}

// hostileBodies go in the place of the whole body.
var hostileBodies = map[string]string{
	"nothing": "", "garbage": "\x00\xff\x00", "bad escape": "a=%", "many": strings.Repeat("a=b&", 20000), "many names": many(), "oversize": strings.Repeat("x", 70<<10), "megabyte": "a=" + strings.Repeat("x", 1<<20),
	"null": "null", "number": "1", "text": `"x"`, "list": "[]", "object": "{}", "deep list": strings.Repeat("[", 20000), "deep object": strings.Repeat(`{"a":`, 10000) + "1" + strings.Repeat("}", 10000),
	"deep URIs": `{"redirect_uris":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`, "duplicate": `{"redirect_uris":["http://127.0.0.1/"],"redirect_uris":null}`,
	"wrong types": `{"redirect_uris":{"0":"http://127.0.0.1/"},"client_name":[],"scope":{}}`, "number URI": `{"redirect_uris":[1]}`, "null URI": `{"redirect_uris":[null]}`,
	"NUL": `{"redirect_uris":["http://127.0.0.1/\u0000"],"client_name":"\u0000"}`, "lone surrogate": `{"redirect_uris":["http://127.0.0.1/"],"client_name":"\ud800"}`, "BOM": "\ufeff{}", "trailing": `{"redirect_uris":["http://127.0.0.1/"]}{}`,
	"many URIs": `{"redirect_uris":[` + strings.Repeat(`"http://127.0.0.1/",`, 2000) + `"http://127.0.0.1/"]}`, "huge number": `{"redirect_uris":["http://127.0.0.1/"],"client_name":1e999999}`,
	"bad keys":     `{"redirect_uris":["http://127.0.0.1/"],"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[{"kty":"RSA","n":"AA","e":"AA"},{"kty":"EC","crv":"P-256","x":"","y":""}]}}`,
	"keys of text": `{"redirect_uris":["http://127.0.0.1/"],"token_endpoint_auth_method":"private_key_jwt","jwks":"x"}`, "inner keys": `{"redirect_uris":["http://127.0.0.1/"],"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://127.0.0.1/jwks"}`,
}

func many() string {
	var b strings.Builder
	for i := range 6000 {
		fmt.Fprintf(&b, "p%d=v&", i)
	}
	return b.String()
}

// requests makes the hostile variants of a request to one endpoint.
func (e hostileEndpoint) requests(w *world) map[string]*http.Request {
	list := map[string]*http.Request{}
	for name := range e.good {
		for kind, value := range hostileValues {
			list[name+" is "+kind] = e.request(w, with(e.good, name, value))
		}
		list[name+" twice"] = e.request(w, with(e.good, name, e.good.Get(name), e.good.Get(name)))
		list[name+" is missing"] = e.request(w, with(e.good, name))
	}
	for kind, value := range hostileValues {
		list["unknown parameter "+kind] = e.request(w, with(e.good, value, value))
		if e.json != "" {
			list["JSON string "+kind] = w.request(e.method, w.url+e.path, strings.Replace(e.json, "http://127.0.0.1/", value, 1))
		}
	}
	for kind, body := range hostileBodies {
		list["body "+kind] = w.request(e.method, w.url+e.path, body, "Content-Type", "application/x-www-form-urlencoded")
	}
	for _, h := range hostileHeaders {
		r := e.request(w, e.good)
		if r.Header[h[0]] = []string{h[1]}; h[0] == "Host" {
			r.Host = h[1]
		}
		list["header "+h[0]+": "+h[1]] = r
	}
	return list
}

func with(v url.Values, name string, values ...string) url.Values {
	out := url.Values{}
	for k, list := range v {
		out[k] = list
	}
	if out[name] = values; len(values) == 0 {
		delete(out, name)
	}
	return out
}

func (e hostileEndpoint) request(w *world, v url.Values) *http.Request {
	switch {
	case e.json != "":
		return w.request(e.method, w.url+e.path, e.json, "Content-Type", "application/json")
	case e.method == http.MethodPost:
		return w.request(e.method, w.url+e.path, v.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	}
	return w.request(e.method, w.url+e.path+"?"+v.Encode(), "")
}

// check holds an answer to a stranger against what every answer must be.
func (a answer) check(t *testing.T, what string) {
	t.Helper()
	if a.StatusCode >= 500 {
		t.Errorf("%s: %d %.300s", what, a.StatusCode, a.body)
	}
	for name, values := range a.Header {
		if strings.ContainsAny(strings.Join(values, ""), "\r\n\x00") {
			t.Errorf("%s: the header %s holds %q", what, name, values)
		}
	}
	if a.StatusCode < 400 || a.body == "" {
		return
	}
	kind, _, _ := mime.ParseMediaType(a.Header.Get("Content-Type"))
	switch kind {
	case "application/json":
		if v := a.json(t); v["error"] == nil {
			t.Errorf("%s: %d %s", what, a.StatusCode, a.body)
		}
	case "text/html":
		if strings.Contains(a.body, "<script") {
			t.Errorf("%s: the page repeats what was sent", what)
		}
	case "text/plain": // net/http's own, for a method that the path does not have
	default:
		t.Errorf("%s: %d as %q", what, a.StatusCode, kind)
	}
}

// TestHostileInput sends each endpoint some hundreds of requests that no good
// client sends.
func TestHostileInput(t *testing.T) {
	w := newDocumentWorld(t)
	for _, e := range hostileEndpoints(w) {
		requests := e.requests(w)
		if len(requests) < 80 {
			t.Errorf("%s %s: only %d requests", e.method, e.path, len(requests))
		}
		for what, r := range requests {
			serve(t, w.mux.Load(), r).check(t, e.method+" "+e.path+": "+what)
		}
	}
	if strings.Contains(w.trail.String(), "panic") {
		t.Error("a handler panicked")
	}
}

func FuzzForms(f *testing.F) {
	w := newDocumentWorld(f)
	endpoints := hostileEndpoints(w)
	for i, e := range endpoints {
		f.Add(uint8(i), e.good.Encode()+e.json, "", "application/json")
		f.Add(uint8(i), "client_id=%00&client_id=b&state=%ff", "Basic OjA=", "text/html")
	}
	f.Fuzz(func(t *testing.T, i uint8, input, authorization, accept string) {
		e := endpoints[int(i)%len(endpoints)]
		r, err := http.NewRequestWithContext(t.Context(), e.method, w.url+e.path, strings.NewReader(input))
		if err != nil {
			t.Fatal(err)
		}
		if e.method == http.MethodGet {
			r.URL.RawQuery = input
		}
		r.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Authorization": {authorization}, "Accept": {accept}}
		serve(t, w.mux.Load(), r).check(t, e.method+" "+e.path)
	})
}
