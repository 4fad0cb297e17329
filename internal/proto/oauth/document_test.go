package oauth

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestValidateDocumentID(t *testing.T) {
	for _, id := range []string{"https://a.example/client.json", "https://a.example/", "https://a.example:8443/c?v=1", "https://a.example/a..b/c"} {
		if err := ValidateDocumentID(id); err != nil || !IsDocumentID(id) {
			t.Errorf("%s: %v", id, err)
		}
	}
	for id, want := range map[string]string{
		"http://a.example/c": "https", "https:///c": "https", "https://a.example": "no path", "https://u@a.example/c": "user name",
		"https://u:p@a.example/c": "user name", "https://a.example/c#": "fragment", "https://a.example/c#f": "fragment",
		"https://a.example/a/../c": ". or ..", "https://a.example/./c": ". or ..", "https://a.example/%2e%2e/c": ". or ..",
		"https://a.example/ c": "https", "https://a.example\\@b.example/c": "https", "https://[::1/c": "https",
		"https://a.example/" + strings.Repeat("x", 2048): "longer", "javascript:alert(1)": "https", "": "https",
	} {
		if err := ValidateDocumentID(id); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", id, err, want)
		}
	}
}

// changed is a good document with one member replaced, or removed by nil.
func changed(name string, value any) []byte {
	d := map[string]any{
		"client_id": "https://a.example/c", "client_name": "A", "redirect_uris": []any{"http://127.0.0.1/cb"},
		"grant_types": []any{"authorization_code"}, "token_endpoint_auth_method": "none",
	}
	if d[name] = value; value == nil {
		delete(d, name)
	}
	b, _ := json.Marshal(d) // of plain values
	return b
}

func TestParseDocument(t *testing.T) {
	for _, tt := range []struct {
		name  string
		value any
		want  string // of the error, "" for none
	}{
		{"client_name", nil, ""},
		{"token_endpoint_auth_method", nil, ""},
		{"redirect_uris", []any{"http://127.0.0.1/cb", "unknown:/cb"}, ""},
		{"client_id", "https://a.example/C", "client_id"},
		{"client_id", "https://a.example:443/c", "client_id"},
		{"client_id", nil, "client_id"},
		{"client_id", 1, "JSON object"},
		{"redirect_uris", nil, "redirect_uris"},
		{"redirect_uris", []any{}, "redirect_uris"},
		{"redirect_uris", "http://127.0.0.1/cb", "JSON object"},
		{"redirect_uris", []any{"javascript:alert(1)", "http://evil.example/"}, "javascript:alert(1)"},
		{"client_secret", "s", "client_secret"},
		{"client_secret", "", "client_secret"},
		{"client_secret_expires_at", 0, "client_secret"},
		{"token_endpoint_auth_method", "client_secret_basic", "client_secret_basic"},
		{"token_endpoint_auth_method", "client_secret_post", "client_secret_post"},
		{"token_endpoint_auth_method", "client_secret_jwt", "client_secret_jwt"},
		{"token_endpoint_auth_method", "tls_client_auth", "tls_client_auth"},
		{"token_endpoint_auth_method", "private_key_jwt", "jwks"},
		{"grant_types", []any{"client_credentials"}, "authorization_code"},
		{"response_types", []any{"token"}, "response_types"},
	} {
		c, err := ParseDocument("https://a.example/c", changed(tt.name, tt.value), nil, false)
		switch {
		case tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s %v: %v", tt.name, tt.value, err)
		case err == nil && (c.ID != "https://a.example/c" || c.AuthMethod != "none" || !reflect.DeepEqual(c.RedirectURIs, []string{"http://127.0.0.1/cb"})):
			t.Errorf("%s %v: %+v", tt.name, tt.value, c)
		}
	}
	for _, body := range []string{"", "null", "[]", "{", `{"client_id":"https://a.example/c"} {}`, "<html>", strings.Repeat("[", 60000)} {
		if c, err := ParseDocument("https://a.example/c", []byte(body), nil, false); err == nil {
			t.Errorf("%.20s: %+v", body, c)
		}
	}
}

func TestDocumentOfAClientWithKeys(t *testing.T) {
	body := `{"client_id":"https://a.example/c","redirect_uris":["https://a.example/cb"],"token_endpoint_auth_method":"private_key_jwt",
		"token_endpoint_auth_signing_alg":"RS256","jwks_uri":"https://a.example/k","token_endpoint_auth_methods_supported":[%]}`
	for methods, none := range map[string]bool{`"none","private_key_jwt"`: true, `"private_key_jwt"`: false, ``: false} {
		c, err := ParseDocument("https://a.example/c", []byte(strings.Replace(body, "%", methods, 1)), nil, false)
		if err != nil || c.AuthMethod != AuthPrivateKey || c.AllowNone != none || c.SigningAlg != "RS256" || c.JWKSURI != "https://a.example/k" {
			t.Errorf("%s: %+v, %v", methods, c, err)
		}
	}
}

func FuzzDocument(f *testing.F) {
	f.Add("https://a.example/c", changed("client_name", "B"))
	f.Add("https://a.example/c", changed("redirect_uris", []any{"javascript:alert(1)", nil, "http://localhost/"}))
	f.Add("https://a.example/c", changed("client_secret", "s"))
	f.Add("https://a.example/c", changed("token_endpoint_auth_method", "private_key_jwt"))
	f.Add("https://a.example/../c", []byte(`{"client_id":"https://a.example/../c"}`))
	f.Fuzz(func(t *testing.T, id string, body []byte) {
		c, err := ParseDocument(id, body, nil, false)
		if err != nil {
			return
		}
		if c.ID != id || len(c.RedirectURIs) == 0 || c.AuthMethod != AuthNone && c.AuthMethod != AuthPrivateKey || len(c.SecretHash) > 0 {
			t.Errorf("%+v", c)
		}
		for _, uri := range c.RedirectURIs {
			if e := (Schemes{}).Validate(uri); e != nil {
				t.Errorf("%q is kept: %v", uri, e)
			}
		}
		if (c.JWKS == "" && c.JWKSURI == "") != (c.AuthMethod == AuthNone) {
			t.Errorf("keys: %+v", c)
		}
	})
}
