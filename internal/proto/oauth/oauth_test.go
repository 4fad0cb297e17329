package oauth

import (
	"encoding/base64"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// The bytes of RFC 7636 appendix B.
const (
	rfcVerifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	rfcChallenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

func TestPKCE(t *testing.T) {
	if got := Challenge(rfcVerifier); got != rfcChallenge {
		t.Errorf("challenge %q, want %q", got, rfcChallenge)
	}
	if !VerifyPKCE(rfcVerifier, rfcChallenge) || !ValidChallenge(rfcChallenge) {
		t.Error("the RFC's own example is refused")
	}
	for _, v := range []string{
		"", rfcVerifier[:42], rfcVerifier + "x", rfcChallenge, strings.Repeat("a", 129), rfcVerifier[:42] + "+",
	} {
		if VerifyPKCE(v, rfcChallenge) {
			t.Errorf("verifier %q is accepted", v)
		}
	}
	for _, c := range []string{"", "short", rfcChallenge + "=", rfcChallenge + "A", rfcChallenge[:42] + "/", rfcChallenge[:42] + "N"} {
		if ValidChallenge(c) {
			t.Errorf("challenge %q is accepted", c)
		}
	}
	if VerifyPKCE(strings.Repeat("a", 42), Challenge(strings.Repeat("a", 42))) || !VerifyPKCE(strings.Repeat("~", 128), Challenge(strings.Repeat("~", 128))) {
		t.Error("the length limits of RFC 7636 §4.1 are not kept")
	}
}

func TestValidateRedirectURI(t *testing.T) {
	good := []string{
		"https://claude.ai/api/mcp/auth_callback", "https://claude.com/api/mcp/auth_callback", "http://localhost:54545/callback",
		"cursor://anysphere.cursor-mcp/oauth/callback", "https://www.cursor.com/agents/mcp/oauth/callback", "https://vscode.dev/redirect",
		"http://127.0.0.1/", "http://127.0.0.1:33418/", "http://[::1]:7777/cb", "https://chatgpt.com/connector/oauth/abc-1_2",
		"com.example.app:/oauth", "vscode://publisher.ext/cb", "https://a.example/cb?x=1", "https://xn--bcher-kva.example/cb",
		"warp://mcp/oauth2callback", "raycast://oauth?package_name=Extension", "systemprompt://oauth/callback",
		"claude://claude.ai/mcp-auth-callback/sdk",
	}
	for _, uri := range good {
		if err := (Schemes{}).Validate(uri); err != nil {
			t.Errorf("%s: %v", uri, err)
		}
	}
	bad := map[string]string{
		"":                             "not absolute",
		"/callback":                    "not absolute",
		"javascript:alert(1)":          "scheme",
		"JavaScript://x/%0aalert(1)":   "scheme",
		"data:text/html,x":             "scheme",
		"file:///etc/passwd":           "scheme",
		"ftp://a.example/":             "scheme",
		"myapp://cb":                   "FJMCP_BROKER_REDIRECT_SCHEMES",
		"chrome-extension://abc/cb":    "belongs to browsers",
		"web+mcp://cb":                 "belongs to browsers",
		"ms-settings:cb":               "belongs to browsers",
		"intent://cb":                  "belongs to browsers",
		"https://%e2%80%aeevil/cb":     "punycode",
		"https://b%c3%bccher.example/": "punycode",
		"warp://%e2%80%8bmcp/":         "punycode",
		"javascript.:alert(1)":         "scheme",
		"http://a.example/cb":          "loopback",
		"http://127.0.0.1.evil.com/":   "loopback",
		"http://localhost.evil.com/":   "loopback",
		"http://127.0.0.2/":            "loopback",
		"https://a.example/cb#x":       "fragment",
		"https://a.example/cb#":        "fragment",
		"https://u@a.example/cb":       "user name",
		"http://localhost@evil.com/":   "user name",
		"https:///cb":                  "no host",
		"https:cb":                     "no host",
		"https://a.example/\r\nX: y":   "control",
		"https://a.example\\@evil.com": "control",
		"https://a.example/ä":          "outside ASCII",
		"https://a.example:x/":         "not a URI",
		"https://a.example/" + strings.Repeat("a", 2048): "longer",
	}
	for uri, want := range bad {
		if err := (Schemes{}).Validate(uri); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", uri, err, want)
		}
	}
}

func TestMatchRedirectURI(t *testing.T) {
	tests := []struct {
		registered, given string
		want              bool
	}{
		{"https://claude.ai/cb", "https://claude.ai/cb", true},
		{"https://claude.ai/cb", "https://claude.ai/cb/", false},
		{"https://claude.ai/cb", "https://claude.ai:8443/cb", false},
		{"https://claude.ai/cb", "https://claude.ai/cb?x=1", false},
		{"https://claude.ai/cb", "https://CLAUDE.ai/cb", false},
		{"http://127.0.0.1/", "http://127.0.0.1:51234/", true},
		{"http://127.0.0.1/", "http://127.0.0.1:51234", true},
		{"http://127.0.0.1:33418/", "http://127.0.0.1:51234/", true},
		{"http://127.0.0.1:33418/", "http://127.0.0.1/", true},
		{"http://localhost:3000/callback", "http://localhost:4000/callback", true},
		{"http://[::1]/cb", "http://[::1]:8/cb", true},
		{"http://localhost/callback", "http://127.0.0.1:4000/callback", false},
		{"http://localhost/callback", "http://localhost:4000/callback/x", false},
		{"http://localhost/callback", "http://localhost:4000/callback?x=1", false},
		{"http://localhost/callback", "https://localhost:4000/callback", false},
		{"http://localhost/callback", "http://localhost:4000@evil.com/callback", false},
		{"https://localhost/callback", "https://localhost:4000/callback", false},
		{"cursor://a/cb", "cursor://a/cb", true},
		{"cursor://a/cb", "cursor://a:1/cb", false},
		{"javascript:alert(1)", "javascript:alert(1)", false}, // as if an old row held it
	}
	for _, tt := range tests {
		if got := (Schemes{}).Match([]string{"https://other.example/", tt.registered}, tt.given); got != tt.want {
			t.Errorf("%s against %s: %v", tt.given, tt.registered, got)
		}
	}
}

// The page about clients lists each scheme that is taken as delivered.
func TestKnownSchemes(t *testing.T) {
	page, err := os.ReadFile("../../../docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "Schemes taken as delivered:")
	list, _, _ := strings.Cut(rest, ", and every reversed domain name")
	var listed []string
	for _, scheme := range strings.Fields(list) {
		listed = append(listed, strings.Trim(scheme, "`,"))
	}
	if want := slices.Sorted(maps.Keys(apps)); !slices.Equal(listed, want) {
		t.Errorf("listed are %v, known %v", listed, want)
	}
	for scheme := range apps {
		if err := (Schemes{}).Validate(scheme + "://cb"); err != nil || taken(scheme) {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

// What the operator allows is registered and matched; what browsers run cannot be allowed.
func TestAllowedSchemes(t *testing.T) {
	s := Schemes{"myapp"}
	for uri, want := range map[string]bool{"myapp://cb": true, "MyApp://cb": true, "myapps://cb": false, "my-app://cb": false} {
		if err := s.Validate(uri); (err == nil) != want {
			t.Errorf("%s: %v", uri, err)
		}
		if s.Match([]string{uri}, uri) != want || (Schemes{}).Match([]string{uri}, uri) {
			t.Errorf("%s: matched wrongly", uri)
		}
	}
	for _, scheme := range []string{"myapp", "my-app", "com.example.app", "x1", "databricks", "warp"} {
		if err := CheckScheme(scheme); err != nil {
			t.Errorf("%s: %v", scheme, err)
		}
	}
	for _, scheme := range []string{
		"", "myapp:", "myapp://", "MyApp", "my app", "my_app", "1app", "*", "http", "https", "javascript", "data", "file", "vbscript", "blob", "about",
		"view-source", "filesystem", "ws", "wss", "ftp", "mailto", "tel", "intent", "ms-msdt", "search-ms", "chrome", "chrome-extension",
		"moz-extension", "web+app", "jar", "resource",
	} {
		if CheckScheme(scheme) == nil {
			t.Errorf("%q can be allowed", scheme)
		}
	}
}

func TestMatchResource(t *testing.T) {
	for given, want := range map[string]string{
		"https://b.example/x/mcp":                     "/mcp",
		"https://b.example/x/mcp/":                    "/mcp",
		"https://B.Example:443/x/mcp":                 "/mcp",
		"https://b.example/x/sse":                     "/sse",
		"https://b.example/x/mcp/readonly":            "/mcp/readonly",
		"https://b.example/x/mcp/x/issues/":           "/mcp/x/issues",
		"https://B.example/x/mcp/x/issues/readonly":   "/mcp/x/issues/readonly",
		"https://b.example/x/mcp/x/all":               "/mcp/x/all",
		"https://b.example/x/mcp/x/Issues":            "",
		"https://b.example/x/mcp/x/%69ssues":          "",
		"https://b.example/x/mcp/x/nothing":           "",
		"https://b.example/x/mcp/x/../x/issues":       "",
		"https://b.example/x/mcp//":                   "",
		"https://b.example/x/sse/readonly":            "",
		"https://b.example/x":                         "",
		"https://b.example/xmcp":                      "",
		"https://b.example/mcp":                       "",
		"https://b.example/x/MCP":                     "",
		"http://b.example/x/mcp":                      "",
		"https://b.example:444/x/mcp":                 "",
		"https://evil.example/x/mcp":                  "",
		"https://b.example.evil.example/x/mcp":        "",
		"https://b.example/x/mcp#f":                   "",
		"https://u@b.example/x/mcp":                   "",
		"https://b.example/x/mcp?q=1":                 "",
		"https://b.example/x/..%2fmcp":                "",
		"x":                                           "",
		"https://b.example/x/mcp/x/issues/readonly/x": "",
	} {
		if got, err := MatchResource("https://b.example/x", given); got.String() != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, want %q; %v", given, got, want, err)
		}
	}
}

// Of several resources the token is for the one that holds the others.
func TestMatchResources(t *testing.T) {
	const issuer = "https://b.example"
	for given, want := range map[string]string{
		"": "", "/mcp": "/mcp", "/mcp /sse": "/mcp", "/sse /mcp/": "/sse", "/mcp/x/issues /mcp": "/mcp", "/mcp /mcp/x/issues/readonly /mcp/readonly": "/mcp",
		"/mcp/x/issues/readonly /mcp/readonly": "/mcp/readonly", "/mcp/x/issues /mcp/x/wiki /mcp/x/all": "/mcp/x/all",
		"/mcp/x/issues /mcp/x/wiki": "one resource", "/mcp/x/issues /mcp/readonly": "one resource", "/mcp /other": "does not protect", "/mcp /": "does not protect", "/mcp/x/nothing /mcp": "toolsets",
	} {
		v := url.Values{}
		for path := range strings.FieldsSeq(given) {
			v.Add("resource", issuer+path)
		}
		p, _ := ParseParams(v)
		got, err := MatchResources(issuer, p)
		if strings.Contains(want, "/") || want == "" {
			if err != nil || got.String() != want {
				t.Errorf("%s: %q, %v", given, got, err)
			}
		} else if err == nil || err.Code != InvalidTarget || !strings.Contains(err.Description, want) {
			t.Errorf("%s: %q, %v", given, got, err)
		}
	}
}

func basic(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }

func TestParseCredentials(t *testing.T) {
	const jwt = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
	tests := []struct {
		name, header, form string
		want               Credentials
		code               string
	}{
		{"none", "", "client_id=c", Credentials{ID: "c"}, ""},
		{"post", "", "client_id=c&client_secret=s", Credentials{ID: "c", Secret: "s"}, ""},
		{"basic alone", basic("c:s"), "", Credentials{ID: "c", Secret: "s"}, ""},
		{"basic with id", basic("c:s"), "client_id=c", Credentials{ID: "c", Secret: "s"}, ""},
		{"basic without secret", basic("c:"), "", Credentials{ID: "c", Secret: ""}, ""},
		{"lower-case scheme", "basic " + basic("c:s")[6:], "", Credentials{ID: "c", Secret: "s"}, ""},
		{"url-encoded", basic("a%3Ab:s%2Bt+u"), "", Credentials{ID: "a:b", Secret: "s+t u"}, ""},
		{"raw per cent", basic("c:100%"), "", Credentials{ID: "c", Secret: "100%"}, ""},
		{"two clients", basic("c:s"), "client_id=d", Credentials{}, InvalidRequest},
		{"two secrets", basic("c:s"), "client_id=c&client_secret=t", Credentials{}, InvalidRequest},
		{"nothing", "", "", Credentials{}, InvalidClient},
		{"bearer", "Bearer x", "client_id=c", Credentials{}, InvalidClient},
		{"not base64", "Basic !!", "", Credentials{}, InvalidClient},
		{"no colon", basic("c"), "", Credentials{}, InvalidClient},
		{"no id", basic(":s"), "", Credentials{}, InvalidClient},
		{"assertion", "", jwt + "&client_assertion=a.b.c", Credentials{Assertion: "a.b.c"}, ""},
		{"assertion and id", "", jwt + "&client_assertion=a.b.c&client_id=c", Credentials{ID: "c", Assertion: "a.b.c"}, ""},
		{"assertion and secret", "", jwt + "&client_assertion=a.b.c&client_id=c&client_secret=s", Credentials{}, InvalidRequest},
		{"assertion and basic", basic("c:s"), jwt + "&client_assertion=a.b.c", Credentials{}, InvalidRequest},
		{"no assertion", "", jwt, Credentials{}, InvalidRequest},
		{"SAML", "", "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:saml2-bearer&client_assertion=x", Credentials{}, InvalidClient},
		{"assertion without type", "", "client_id=c&client_assertion=a.b.c", Credentials{}, InvalidClient},
		{"huge assertion", "", jwt + "&client_assertion=" + strings.Repeat("a", maxAssertion+1), Credentials{}, InvalidClient},
	}
	for _, tt := range tests {
		form, _ := url.ParseQuery(tt.form)
		p, _ := ParseParams(form)
		got, err := ParseCredentials(tt.header, p)
		if tt.code == "" && (err != nil || got != tt.want) || tt.code != "" && (err == nil || err.Code != tt.code) {
			t.Errorf("%s: %#v, %v", tt.name, got, err)
		}
	}
}

func TestParseParams(t *testing.T) {
	if _, err := ParseParams(url.Values{"state": {"a", "b"}}); err == nil || err.Code != InvalidRequest {
		t.Errorf("a repeated parameter: %v", err)
	}
	p, err := ParseParams(url.Values{"resource": {"a", "", "b"}})
	if err != nil || !slices.Equal(p.Resources(), []string{"a", "b"}) {
		t.Errorf("%v, %v", p.Resources(), err)
	}
}

func TestParseRegistration(t *testing.T) {
	uris := `"redirect_uris":["http://127.0.0.1/"]`
	good := map[string]Registration{
		`{` + uris + `}`: {TokenEndpointAuthMethod: AuthBasic},
		`{` + uris + `,"token_endpoint_auth_method":"none","scope":"","jwks":{"keys":[]},"contacts":null}`:                  {TokenEndpointAuthMethod: AuthNone},
		`{` + uris + `,"grant_types":["implicit","authorization_code"],"response_types":["code","token"]}`:                  {TokenEndpointAuthMethod: AuthBasic},
		`{` + uris + `,"client_name":" My\n\u202eclient\u0000  x ","client_uri":"https://a.example"}`:                       {TokenEndpointAuthMethod: AuthBasic, ClientName: "My client x", ClientURI: "https://a.example"},
		`{` + uris + `,"client_uri":"javascript:alert(1)","token_endpoint_auth_method":"client_secret_post","unknown":[1]}`: {TokenEndpointAuthMethod: AuthPost},
		`{` + uris + `,"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://a.example/k","jwks":null}`:        {TokenEndpointAuthMethod: AuthPrivateKey},
	}
	for body, want := range good {
		got, err := ParseRegistration([]byte(body), nil, false)
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		if got.TokenEndpointAuthMethod != want.TokenEndpointAuthMethod || got.ClientName != want.ClientName || got.ClientURI != want.ClientURI ||
			!slices.Equal(got.GrantTypes, GrantTypes(false)) || !slices.Equal(got.ResponseTypes, []string{"code"}) || got.Scope != "forgejo:read forgejo:write" {
			t.Errorf("%s: %+v", body, got)
		}
	}
	bad := map[string][2]string{
		``:                                      {InvalidClientMetadata, "JSON object"},
		`[]`:                                    {InvalidClientMetadata, "JSON object"},
		`{}`:                                    {InvalidRedirectURI, "redirect_uris"},
		`{"redirect_uris":"http://localhost/"}`: {InvalidClientMetadata, "redirect_uris is a JSON string"},
		`{"redirect_uris":["http://localhost/","http://evil.example/cb"]}`:                                                                         {InvalidRedirectURI, "http://evil.example/cb"},
		`{` + uris + `,"token_endpoint_auth_method":"tls_client_auth"}`:                                                                            {InvalidClientMetadata, "tls_client_auth"},
		`{` + uris + `,"token_endpoint_auth_method":"client_secret_jwt"}`:                                                                          {InvalidClientMetadata, "client_secret_jwt"},
		`{` + uris + `,"token_endpoint_auth_method":"private_key_jwt"}`:                                                                            {InvalidClientMetadata, "either jwks or jwks_uri"},
		`{` + uris + `,"token_endpoint_auth_method":"private_key_jwt","jwks":{},"jwks_uri":"https://a.example/k"}`:                                 {InvalidClientMetadata, "either jwks or jwks_uri"},
		`{` + uris + `,"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"http://a.example/k"}`:                                            {InvalidClientMetadata, "https"},
		`{` + uris + `,"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://a.example/k","token_endpoint_auth_signing_alg":"HS256"}`: {InvalidClientMetadata, "HS256"},
		`{` + uris + `,"grant_types":["client_credentials"]}`:                                                                                      {InvalidClientMetadata, "authorization_code"},
		`{` + uris + `,"response_types":["token"]}`:                                                                                                {InvalidClientMetadata, "code"},
		`{"redirect_uris":[` + strings.Repeat(`"http://localhost/",`, 32) + `""]}`:                                                                 {InvalidRedirectURI, "1 to 32"},
	}
	for body, want := range bad {
		_, err := ParseRegistration([]byte(body), nil, false)
		if err == nil || err.Code != want[0] || !strings.Contains(err.Description, want[1]) {
			t.Errorf("%.80s: %v", body, err)
		}
	}
}

func TestErrorDescriptionIsOnTheWireAlphabet(t *testing.T) {
	e := Errorf(InvalidRequest, "a \"b\" \\ ü\n%s", strings.Repeat("x", 400))
	if len(e.Description) != 300 || strings.ContainsFunc(e.Description, func(r rune) bool { return r < 0x20 || r > 0x7e || r == '"' || r == '\\' }) {
		t.Errorf("description %q", e.Description)
	}
}

func TestTokens(t *testing.T) {
	a, b := model.NewToken(model.PrefixAccess), model.NewToken(model.PrefixAccess)
	if a == b || len(a) != 47 || url.QueryEscape(a) != a {
		t.Errorf("tokens %q and %q", a, b)
	}
	if !model.EqualHash(a, model.Hash(a)) || model.EqualHash(b, model.Hash(a)) || model.EqualHash("", nil) || model.EqualHash(a, nil) {
		t.Error("EqualHash is wrong")
	}
}
