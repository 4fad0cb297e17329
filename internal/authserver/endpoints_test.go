package authserver_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/authserver"
	"github.com/fjmcp/fjmcp-broker/internal/broker"
)

func TestMetadata(t *testing.T) {
	for _, prefix := range []string{"", "/p"} {
		w := newWorldAt(t, prefix)
		root := strings.TrimSuffix(w.url, prefix)
		server := []string{
			"/.well-known/oauth-authorization-server" + prefix, "/.well-known/oauth-authorization-server" + prefix + "/mcp",
			"/.well-known/openid-configuration" + prefix, "/.well-known/openid-configuration" + prefix + "/mcp",
			prefix + "/.well-known/openid-configuration", prefix + "/mcp/.well-known/openid-configuration",
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
		for _, path := range []string{"/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource" + prefix + "/mcp"} {
			v := w.get(root + path).json(t)
			if v["resource"] != w.url+"/mcp" || !reflect.DeepEqual(v["authorization_servers"], []any{w.url}) {
				t.Errorf("%s: %v", path, v)
			}
		}
		missing := []string{"/.well-known/unknown", "/.well-known/oauth-protected-resource/other", "/.well-known/openid-configuration/x", prefix + "/.well-known/x"}
		if prefix != "" {
			missing = append(missing, "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/register", "/token", "/authorize")
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

// TestRegistrationOfRealClients uses the bodies of the named clients.
func TestRegistrationOfRealClients(t *testing.T) {
	w := newWorld(t)
	for name, tt := range map[string]struct {
		body   string
		secret bool
		starts string // a redirect URI the client then authorizes with
	}{
		"claude.ai":     {`{"client_name":"Claude","redirect_uris":["https://claude.ai/api/mcp/auth_callback","https://claude.com/api/mcp/auth_callback"],"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"token_endpoint_auth_method":"client_secret_post","scope":"forgejo:read forgejo:write"}`, true, "https://claude.ai/api/mcp/auth_callback"},
		"Claude Code":   {`{"client_name":"Claude Code (forge)","redirect_uris":["http://localhost:54545/callback"],"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"token_endpoint_auth_method":"none"}`, false, "http://localhost:60123/callback"},
		"Cursor":        {`{"client_name":"Cursor","redirect_uris":["cursor://anysphere.cursor-mcp/oauth/callback","https://www.cursor.com/agents/mcp/oauth/callback","http://localhost:8787/callback"],"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"token_endpoint_auth_method":"none","application_type":"web"}`, false, "cursor://anysphere.cursor-mcp/oauth/callback"},
		"VS Code":       {`{"client_name":"Visual Studio Code","client_uri":"https://code.visualstudio.com","redirect_uris":["https://insiders.vscode.dev/redirect","https://vscode.dev/redirect","http://127.0.0.1/","http://127.0.0.1:33418/"],"grant_types":["authorization_code","refresh_token","urn:ietf:params:oauth:grant-type:device_code"],"response_types":["code"],"token_endpoint_auth_method":"none"}`, false, "http://127.0.0.1:51111/"},
		"ChatGPT":       {`{"client_name":"ChatGPT","redirect_uris":["https://chatgpt.com/connector/oauth/AbC_123"],"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"token_endpoint_auth_method":"client_secret_basic"}`, true, "https://chatgpt.com/connector/oauth/AbC_123"},
		"Gemini CLI":    {`{"client_name":"Gemini CLI MCP Client","redirect_uris":["http://localhost:7777/oauth/callback"],"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"token_endpoint_auth_method":"none","scope":""}`, false, "http://localhost:7778/oauth/callback"},
		"Goose":         {`{"client_name":"goose","redirect_uris":["http://127.0.0.1:41234/oauth_callback"],"token_endpoint_auth_method":"none"}`, false, "http://127.0.0.1:41234/oauth_callback"},
		"Zed":           {`{"client_name":"Zed","redirect_uris":["http://127.0.0.1:35555/callback"],"token_endpoint_auth_method":"none","grant_types":["authorization_code","refresh_token"]}`, false, "http://127.0.0.1:35556/callback"},
		"mcp-remote":    {`{"client_name":"MCP CLI Proxy","redirect_uris":["http://localhost:3335/oauth/callback"],"token_endpoint_auth_method":"none","grant_types":["authorization_code","refresh_token"],"response_types":["code"],"client_uri":"https://github.com/modelcontextprotocol/mcp-cli","software_id":"2e6dc280-f3c3-4e01-99a7-8181dbd1d23d","software_version":"0.15.0"}`, false, "http://localhost:49150/oauth/callback"},
		"MCP Inspector": {`{"client_name":"MCP Inspector","redirect_uris":["http://localhost:6274/oauth/callback"],"token_endpoint_auth_method":"none","grant_types":["authorization_code","refresh_token"],"response_types":["code"],"client_uri":"https://github.com/modelcontextprotocol/inspector","scope":"openid email profile"}`, false, "http://localhost:6274/oauth/callback"},
		"Go SDK":        {`{"redirect_uris":["http://localhost:3142"],"application_type":"native"}`, true, "http://localhost:3142"},
	} {
		got := w.register(tt.body)
		secret, has := got["client_secret"]
		if has != tt.secret || has && (secret == "" || got["client_secret_expires_at"] != float64(0)) {
			t.Errorf("%s: %v", name, got)
		}
		if _, expires := got["client_secret_expires_at"]; expires != tt.secret {
			t.Errorf("%s: client_secret_expires_at without a secret", name)
		}
		if tt.secret && got["token_endpoint_auth_method"] == "none" || !tt.secret && got["token_endpoint_auth_method"] != "none" {
			t.Errorf("%s: method %v", name, got["token_endpoint_auth_method"])
		}
		c := client{id: got["client_id"].(string), redirectURI: tt.starts, verifier: strings.Repeat("v", 43)}
		if a := w.get(w.url + "/oauth/authorize?" + c.authorizeQuery().Encode()); a.StatusCode != 200 {
			t.Errorf("%s: authorize: %d %s", name, a.StatusCode, a.body)
		}
	}
}

func TestRegistrationNamesTheBadURI(t *testing.T) {
	w := newWorld(t)
	a := w.do(newBrowser(), w.request(http.MethodPost, w.url+"/oauth/register", `{"redirect_uris":["https://good.example/cb","http://bad.example/cb"]}`))
	a.wantError(t, 400, "invalid_redirect_uri", "http://bad.example/cb")
	a = w.do(newBrowser(), w.request(http.MethodPost, w.url+"/oauth/register", `{"client_name":"`+strings.Repeat("x", 70000)+`"}`))
	a.wantError(t, 400, "invalid_request", "larger")
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
		{broker.ErrExpired, 401, []string{`error="invalid_token"`, "expired"}, ""},
		{broker.ErrRevoked, 401, []string{`error="invalid_token"`}, ""},
		{broker.ErrForgejoGrantDead, 401, []string{`error="invalid_token"`}, ""},
		{errors.New("disk full"), 503, nil, "Bearer"},
	} {
		rec := httptest.NewRecorder()
		w.server.Challenge(rec, tt.err)
		header := rec.Header().Get("WWW-Authenticate")
		if rec.Code != tt.status || tt.not != "" && strings.Contains(header, tt.not) || strings.Contains(rec.Body.String(), "disk full") {
			t.Errorf("%v: %d %s", tt.err, rec.Code, header)
		}
		if tt.status != 401 {
			continue
		}
		where := strings.TrimSuffix(w.url, "/p") + "/.well-known/oauth-protected-resource/p/mcp"
		if !strings.HasPrefix(header, `Bearer resource_metadata="`+where+`"`) {
			t.Errorf("%v: %s", tt.err, header)
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
	if _, err := w.server.Authenticate(r); err != authserver.ErrNoToken {
		t.Errorf("a token in URL or form: %v", err)
	}
	if err := w.bearer(refresh); err != broker.ErrNotFound {
		t.Errorf("a refresh token: %v", err)
	}
}
