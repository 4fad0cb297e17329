package authserver_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/authserver"
	"github.com/fjmcp/fjmcp-broker/internal/proto/endpoint"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

func TestMetadata(t *testing.T) {
	for _, prefix := range []string{"", "/p"} {
		w := newWorldAt(t, prefix)
		root := strings.TrimSuffix(w.url, prefix)
		server := []string{
			"/.well-known/oauth-authorization-server" + prefix, "/.well-known/oauth-authorization-server" + prefix + "/mcp",
			"/.well-known/openid-configuration" + prefix, "/.well-known/openid-configuration" + prefix + "/mcp",
			prefix + "/.well-known/openid-configuration", prefix + "/mcp/.well-known/openid-configuration",
			"/.well-known/oauth-authorization-server" + prefix + "/sse", prefix + "/sse/.well-known/openid-configuration",
			// clients of 2025-03-26 know the origin alone (appwrite/mcp#77)
			"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration",
			"/.well-known/oauth-authorization-server" + prefix + "/", "/.well-known/openid-configuration" + prefix + "/mcp/",
			prefix + "/mcp/.well-known/oauth-authorization-server/",
		}
		for _, at := range endpoint.All() {
			for _, suffix := range []string{"oauth-authorization-server", "openid-configuration"} {
				server = append(server, "/.well-known/"+suffix+prefix+at.String(), "/.well-known/"+suffix+prefix+at.String()+"/", prefix+at.String()+"/.well-known/"+suffix)
			}
		}
		for _, path := range server {
			a := w.get(root+path, "Host", "evil.example")
			v := a.json(t)
			if a.StatusCode != 200 || v["issuer"] != w.url || v["token_endpoint"] != w.url+"/oauth/token" || v["registration_endpoint"] != w.url+"/oauth/register" ||
				!reflect.DeepEqual(v["code_challenge_methods_supported"], []any{"S256"}) || v["authorization_response_iss_parameter_supported"] != true ||
				!reflect.DeepEqual(v["token_endpoint_auth_methods_supported"], []any{"none", "client_secret_post", "client_secret_basic", "private_key_jwt"}) ||
				v["introspection_endpoint"] != w.url+"/oauth/introspect" || v["client_id_metadata_document_supported"] != nil {
				t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
			}
			if openid := strings.Contains(path, "openid"); openid != (v["jwks_uri"] != nil) {
				t.Errorf("%s: jwks_uri %v", path, v["jwks_uri"])
			}
		}
		resources := map[string]endpoint.Path{"/.well-known/oauth-protected-resource": w.at("/mcp")}
		for _, at := range endpoint.All() {
			for _, slash := range []string{"", "/"} {
				resources["/.well-known/oauth-protected-resource"+prefix+at.String()+slash] = w.at(at.String() + slash)
			}
		}
		for path, at := range resources {
			v, scopes := w.get(root+path).json(t), []any{"forgejo:read", "forgejo:write"}
			if at.ReadOnly {
				scopes = scopes[:1]
			}
			if v["resource"] != w.url+at.String() || !reflect.DeepEqual(v["authorization_servers"], []any{w.url}) || !reflect.DeepEqual(v["scopes_supported"], scopes) {
				t.Errorf("%s: %v", path, v)
			}
			if name := v["resource_name"].(string); strings.HasSuffix(name, ", read only") != at.ReadOnly || !strings.Contains(name, at.Toolset) {
				t.Errorf("%s: %s", path, name)
			}
		}
		missing := []string{"/.well-known/unknown", "/.well-known/oauth-protected-resource/other", "/.well-known/openid-configuration/x", prefix + "/.well-known/x"}
		for _, other := range []string{"/mcp/x/nothing", "/mcp/x/nothing/readonly", "/mcp/x/Issues", "/mcp/x", "/mcp/x/issues/x", "/sse/readonly", "/mcp/x/issues%2freadonly", "/mcp/readonly/readonly"} {
			missing = append(missing, "/.well-known/oauth-protected-resource"+prefix+other, "/.well-known/oauth-authorization-server"+prefix+other, prefix+other+"/.well-known/openid-configuration")
		}
		missing = append(missing, "/.well-known/oauth-protected-resource"+prefix+"/mcp/x/%69ssues") // clients compare bytes
		if prefix != "" {
			missing = append(missing, "/register", "/token", "/authorize")
		}
		for _, path := range missing {
			if a := w.get(root + path); a.StatusCode != 404 {
				t.Errorf("%s: %d", path, a.StatusCode)
			}
		}
	}
}

func TestRootAliases(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	if a := w.get(w.url + "/authorize?" + c.authorizeQuery().Encode()); a.StatusCode != 200 {
		t.Errorf("/authorize: %d", a.StatusCode)
	}
	w.post("/token", nil).wantError(t, 401, "invalid_client", "")
	w.post("/register", nil).wantError(t, 400, "invalid_client_metadata", "")
}

func TestCORS(t *testing.T) {
	w := newWorld(t)
	for path, method := range map[string]string{
		"/.well-known/oauth-authorization-server": "GET", "/.well-known/oauth-protected-resource/mcp": "GET", "/.well-known/none": "GET",
		"/oauth/register": "POST", "/oauth/token": "POST", "/oauth/revoke": "POST",
	} {
		a := w.do(newBrowser(), w.request(http.MethodOptions, w.url+path, "", "Origin", "http://localhost:6274", "Access-Control-Request-Method", method))
		if a.StatusCode != 204 || a.Header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(a.Header.Get("Access-Control-Allow-Methods"), method) ||
			!strings.Contains(a.Header.Get("Access-Control-Allow-Headers"), "Authorization") {
			t.Errorf("%s: %d %v", path, a.StatusCode, a.Header)
		}
		if a := w.do(newBrowser(), w.request(http.MethodPut, w.url+path, "")); a.StatusCode != 405 || !strings.Contains(a.Header.Get("Allow"), method) {
			t.Errorf("PUT %s: %d %v", path, a.StatusCode, a.Header)
		}
	}
}

// TestRegistrationOfRealClients uses the bodies of the named clients, and
// connects each as it does: with its redirect URI, and its way to authenticate.
func TestRegistrationOfRealClients(t *testing.T) {
	w := newWorld(t)
	for name, tt := range map[string]struct {
		how    string   // the client authenticates
		starts []string // redirect URIs it then authorizes with
	}{
		"claude.ai":     {"client_secret_post", []string{"https://claude.ai/api/mcp/auth_callback"}},
		"claude.com":    {"client_secret_post", []string{"https://claude.com/api/mcp/auth_callback"}},
		"claude-code":   {"none", []string{"http://localhost:54545/callback", "http://localhost:60123/callback"}},
		"cursor":        {"none", []string{"cursor://anysphere.cursor-mcp/oauth/callback", "https://www.cursor.com/agents/mcp/oauth/callback", "http://localhost:8787/callback"}},
		"vscode":        {"none", []string{"https://vscode.dev/redirect", "https://insiders.vscode.dev/redirect", "http://127.0.0.1/", "http://127.0.0.1:33418/", "http://127.0.0.1:51111/"}},
		"chatgpt":       {"client_secret_basic", []string{"https://chatgpt.com/connector/oauth/AbC_123"}},
		"gemini-cli":    {"none", []string{"http://localhost:7777/oauth/callback", "http://localhost:65290/oauth/callback"}},
		"goose":         {"none", []string{"http://127.0.0.1:41234/oauth_callback", "http://127.0.0.1:41235/oauth_callback"}},
		"zed":           {"none", []string{"http://127.0.0.1:49152/callback", "http://127.0.0.1:35556/callback"}},
		"mcp-remote":    {"none", []string{"http://localhost:3335/oauth/callback", "http://localhost:49150/oauth/callback"}},
		"inspector":     {"none", []string{"http://localhost:6274/oauth/callback"}},
		"inspector-cli": {"none", []string{"http://127.0.0.1:6276/oauth/callback"}},
		"go-sdk":        {"client_secret_basic", []string{"http://localhost:3142", "http://localhost:3143/"}},

		"warp":           {"none", []string{"warp://mcp/oauth2callback"}},
		"raycast":        {"none", []string{"raycast://oauth?package_name=mcp_server_forge_(dev)"}},
		"systemprompt":   {"none", []string{"systemprompt://oauth/callback"}},
		"claude-desktop": {"none", []string{"claude://claude.ai/mcp-auth-callback/sdk"}},
		"cline":          {"none", []string{"vscode://saoudrizwan.claude-dev/mcp-auth/callback/2f6d1c0a"}},
		"codex":          {"none", []string{"http://127.0.0.1:41000/callback/6MFBM1In3Ey-"}},
		"opencode":       {"none", []string{"http://127.0.0.1:19876/mcp/oauth/callback"}},
		"antigravity":    {"none", []string{"https://antigravity.google/oauth-callback"}},
		"mistral":        {"client_secret_basic", []string{"https://callback.mistral.ai/v1/integrations_auth/oauth2_callback"}},
		"perplexity":     {"client_secret_basic", []string{"https://www.perplexity.ai/rest/connections/oauth_callback"}},
		"grok":           {"client_secret_basic", []string{"https://grok.com/connectors-oauth-exchange-code/"}},
		"devin":          {"client_secret_basic", []string{"https://api.devin.ai/mcp/oauth/callback"}},
		"copilot-studio": {"client_secret_basic", []string{"https://global.consent.azure-apim.net/redirect/forge-5f0a1b"}},
		"librechat":      {"client_secret_basic", []string{"https://chat.example.org/api/mcp/forge/oauth/callback"}},
		"open-webui":     {"client_secret_basic", []string{"https://chat.example.org/oauth/clients/mcp:forge/callback"}},
	} {
		body, err := os.ReadFile(filepath.Join("testdata", "registrations", name+".json"))
		w.must(err)
		got := w.register(string(body))
		secret, _ := got["client_secret"].(string)
		expires, told := got["client_secret_expires_at"]
		if got["token_endpoint_auth_method"] != tt.how || (secret != "") != (tt.how != "none") || told != (secret != "") || told && expires != float64(0) {
			t.Errorf("%s: %v", name, got)
		}
		for _, uri := range tt.starts {
			c := client{id: got["client_id"].(string), redirectURI: uri, verifier: strings.Repeat("v", 43)}
			if a := w.redeemAs(c, tt.how, secret); a.StatusCode != 200 || a.json(t)["refresh_token"] == nil {
				t.Errorf("%s at %s: %d %s", name, uri, a.StatusCode, a.body)
			}
		}
	}
}

// redeemAs logs in and redeems the code with one way of authenticating.
func (w *world) redeemAs(c client, how, secret string) answer {
	w.t.Helper()
	code := w.logIn(c)
	switch how {
	case "client_secret_basic":
		basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(c.id+":"+secret))
		return w.post("/oauth/token", c.tokenForm(code, "client_id", ""), "Authorization", basic)
	case "client_secret_post":
		return w.post("/oauth/token", c.tokenForm(code, "client_secret", secret))
	}
	return w.post("/oauth/token", c.tokenForm(code))
}

func TestRegistrationNamesTheBadURI(t *testing.T) {
	w := newWorld(t)
	a := w.do(newBrowser(), w.request(http.MethodPost, w.url+"/oauth/register", `{"redirect_uris":["https://good.example/cb","http://bad.example/cb"]}`))
	a.wantError(t, 400, "invalid_redirect_uri", "http://bad.example/cb")
	w.advance(time.Minute)
	a = w.do(newBrowser(), w.request(http.MethodPost, w.url+"/oauth/register", `{"redirect_uris":["myapp://cb"]}`))
	a.wantError(t, 400, "invalid_redirect_uri", "the operator can allow it with FJMCP_BROKER_REDIRECT_SCHEMES")
	if !strings.Contains(w.trail.String(), "FJMCP_BROKER_REDIRECT_SCHEMES") {
		t.Errorf("the operator is not told: %s", w.trail)
	}
	w.do(newBrowser(), w.request(http.MethodPost, w.url+"/oauth/register", `{"redirect_uris":["yourapp://cb"]}`))
	if n := strings.Count(w.trail.String(), "refused to register"); n != 2 {
		t.Errorf("within a minute the operator is told %d times", n)
	}
	w.advance(time.Minute)
	w.do(newBrowser(), w.request(http.MethodPost, w.url+"/oauth/register", `{"redirect_uris":["theirapp://cb"]}`))
	if n := strings.Count(w.trail.String(), "refused to register"); n != 3 {
		t.Errorf("a minute later the operator was told %d times", n)
	}
	a = w.do(newBrowser(), w.request(http.MethodPost, w.url+"/oauth/register", `{"client_name":"`+strings.Repeat("x", 70000)+`"}`))
	a.wantError(t, 400, "invalid_request", "larger")
}

// What the operator allows is registered, and a login returns to it.
func TestAllowedRedirectScheme(t *testing.T) {
	w := newWorld(t)
	w.schemes = oauth.Schemes{"myapp"}
	w.restart()
	c := w.newClient()
	c.id, c.redirectURI = w.register(`{"redirect_uris":["myapp://cb"],"token_endpoint_auth_method":"none"}`)["client_id"].(string), "myapp://cb"
	if a := w.redeemAs(c, "none", ""); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	w.schemes = nil // the operator thinks better of it
	w.restart()
	if a := w.get(w.url + "/oauth/authorize?" + c.authorizeQuery().Encode()); a.StatusCode != 400 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestChallenge(t *testing.T) {
	w := newWorldAt(t, "/p")
	for _, tt := range []struct {
		err    error
		status int
		header []string
		not    string
	}{
		{authserver.ErrNoToken, 401, []string{`scope="forgejo:read forgejo:write"`}, "error="},
		{model.ErrExpired, 401, []string{`error="invalid_token"`, "expired"}, ""},
		{model.ErrRevoked, 401, []string{`error="invalid_token"`}, ""},
		{model.ErrForgejoGrantDead, 401, []string{`error="invalid_token"`}, ""},
		{authserver.OtherResource("https://x.example/mcp/x/wiki"), 401, []string{`error="invalid_token"`, "this token is for https://x.example/mcp/x/wiki;"}, ""},
		{model.ErrInsufficientScope, 403, []string{`scope="forgejo:read forgejo:write"`, `error="insufficient_scope"`}, ""},
		{errors.New("disk full"), 503, nil, "Bearer"},
	} {
		status, header, body := w.server.Challenge(w.at("/mcp"), tt.err)
		if status != tt.status || tt.not != "" && strings.Contains(header, tt.not) || strings.Contains(body.Description, "disk full") {
			t.Errorf("%v: %d %s", tt.err, status, header)
		}
		if tt.status == 503 {
			continue
		}
		for path := range strings.FieldsSeq("/mcp /sse /mcp/ /sse/ /mcp/readonly /mcp/x/all/ /mcp/x/issues /mcp/x/issues/readonly/") {
			where := strings.TrimSuffix(w.url, "/p") + "/.well-known/oauth-protected-resource/p" + path
			_, header, _ := w.server.Challenge(w.at(path), tt.err)
			if !strings.HasPrefix(header, `Bearer resource_metadata="`+where+`"`) || strings.Contains(header, `scope="forgejo:read"`) != strings.Contains(path, "readonly") {
				t.Errorf("%s, %v: %s", path, tt.err, header)
			}
		}
		for _, want := range tt.header {
			if !strings.Contains(header, want) {
				t.Errorf("%v: %s lacks %s", tt.err, header, want)
			}
		}
	}
}

func TestAuthenticateTakesOnlyTheHeader(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	access, refresh := w.tokens(c, w.logIn(c))
	r := httptest.NewRequest(http.MethodPost, "/mcp?access_token="+access, strings.NewReader("access_token="+access))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if _, err := w.server.Authenticate(r, w.at("/mcp")); err != authserver.ErrNoToken {
		t.Errorf("a token in URL or form: %v", err)
	}
	if err := w.bearer(refresh); err != model.ErrNotFound {
		t.Errorf("a refresh token: %v", err)
	}
}
