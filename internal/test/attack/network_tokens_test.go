package attack

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/test/e2e"
)

// spoilt sends a changed token request with a good code, and wants it to be refused;
// some changes may not use the code up.
func spoilt(name string, changes ...string) attack {
	return attack{who: "N", name: "redeem a code " + name, right: "refused", out: func(w *world) result {
		client := w.client("honest", honestURI)
		return w.redeem(client, w.code(client), changes...).denied()
	}}
}

const ping = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`

// mcpPost sends a message to the MCP endpoint.
func (w *world) mcpPost(body string, headers ...string) reply {
	return w.http("POST", "/mcp", body, append([]string{"Content-Type: application/json", "Accept: application/json, text/event-stream"}, headers...)...)
}

func networkTokens() []attack {
	all := []attack{
		spoilt("without its verifier", "code_verifier", ""), spoilt("with another verifier", "code_verifier", strings.Repeat("b", 43)), spoilt("for another redirect URI", "redirect_uri", "https://evil.example/cb"),
		spoilt("as an unknown client", "client_id", "nobody"), spoilt("for another resource", "resource", "https://evil.example/mcp"), spoilt("by the password grant", "grant_type", "password"), spoilt("by no grant", "grant_type", ""),
		spoilt("by the device grant", "grant_type", "urn:ietf:params:oauth:grant-type:device_code"), spoilt("by token exchange", "grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"), spoilt("by client credentials", "grant_type", "client_credentials"),
		spoilt("that is another", "code", "0123456789"),
		{who: "N", name: "redeem a code of another client's", right: "refused", out: func(w *world) result {
			honest, evil := w.client("honest", honestURI), w.client("evil", honestURI+"?evil")
			return w.redeem(evil, w.code(honest)).denied()
		}},
		{who: "N", name: "redeem a code twice", right: "refused, and the tokens of the first end", out: func(w *world) result {
			client := w.client("honest", honestURI)
			code := w.code(client)
			token := w.redeem(client, code).field("access_token")
			again := w.redeem(client, code)
			after := w.mcpPost(ping, "Authorization: Bearer "+token)
			return verdict(token != "" && again.StatusCode == 400 && after.StatusCode == 401, "%d, then %d with the first token", again.StatusCode, after.StatusCode)
		}},
		{who: "N", name: "redeem a code in the URL", right: "refused", out: func(w *world) result {
			client := w.client("honest", honestURI)
			r := w.http("POST", "/oauth/token?grant_type=authorization_code&client_id="+client+"&code="+w.code(client)+"&code_verifier="+verifier, "", "Content-Type: "+formType)
			return r.denied()
		}},
		{who: "N", name: "redeem a code that is sent twice in one form", right: "refused", out: func(w *world) result {
			client := w.client("honest", honestURI)
			return w.http("POST", "/oauth/token", "grant_type=authorization_code&client_id="+client+"&code=x&code="+w.code(client)+"&code_verifier="+verifier, "Content-Type: "+formType).denied()
		}},
		{who: "N", name: "refresh with a token of another client's", right: "refused", out: func(w *world) result {
			honest, evil := w.client("honest", honestURI), w.client("evil", honestURI+"?evil")
			refresh := w.redeem(honest, w.code(honest)).field("refresh_token")
			r := w.tokenRequest("grant_type", "refresh_token", "client_id", evil, "refresh_token", refresh)
			good := w.tokenRequest("grant_type", "refresh_token", "client_id", honest, "refresh_token", refresh)
			return verdict(refresh != "" && r.StatusCode == 400 && good.StatusCode == 200, "%d, and %d for its owner", r.StatusCode, good.StatusCode)
		}},
		{who: "N", name: "refresh with an access token", right: "refused", out: func(w *world) result {
			return w.tokenRequest("grant_type", "refresh_token", "client_id", w.client("honest", honestURI), "refresh_token", w.bearer(w.alice)).denied()
		}},
		{who: "N", name: "get different tokens from one refresh token by a race", right: "one pair", out: func(w *world) result {
			client := w.client("honest", honestURI)
			refresh := w.redeem(client, w.code(client)).field("refresh_token")
			pairs := make(chan string, 8)
			for range cap(pairs) {
				go func() {
					defer func() {
						if recover() != nil {
							pairs <- "failed"
						}
					}()
					pairs <- w.tokenRequest("grant_type", "refresh_token", "client_id", client, "refresh_token", refresh).field("refresh_token")
				}()
			}
			seen := map[string]bool{}
			for range cap(pairs) {
				if got := <-pairs; got != "" {
					seen[got] = true
				}
			}
			return verdict(len(seen) == 1 && refresh != "", "%d", len(seen))
		}},
		{who: "N", name: "revoke a token of another client's", right: "it is still good", out: func(w *world) result {
			token := w.bearer(w.bob)
			r := w.http("POST", "/oauth/revoke", "token="+token+"&client_id="+w.client("evil", honestURI), "Content-Type: "+formType)
			err := w.works()
			return verdict(err == nil, "%d, then %v", r.StatusCode, err)
		}},
		{who: "N", name: "ask what a token stands for", right: "refused", out: func(w *world) result {
			last := result{}
			for _, extra := range []string{"", "&client_id=" + w.client("evil", honestURI)} {
				r := w.http("POST", "/oauth/introspect", "token="+w.bearer(w.alice)+extra, "Content-Type: "+formType)
				if last = verdict(r.StatusCode >= 400 && !strings.Contains(r.body, "alice"), "%d %s", r.StatusCode, r.body); !last.OK {
					return last
				}
			}
			return last
		}},
		{who: "N", name: "call with a token in the URL", right: "refused", out: func(w *world) result {
			r := w.http("POST", "/mcp?access_token="+w.bearer(w.alice), ping, "Content-Type: application/json", "Accept: application/json, text/event-stream")
			return verdict(r.StatusCode == 401, "%d", r.StatusCode)
		}},
		{who: "N", name: "call with a token in the body or a cookie", right: "refused", out: func(w *world) result {
			r := w.mcpPost(strings.Replace(ping, `"id":1`, `"id":1,"access_token":"`+w.bearer(w.alice)+`"`, 1), "Cookie: access_token="+w.bearer(w.alice)+"; fjmcp="+w.bearer(w.alice))
			return verdict(r.StatusCode == 401, "%d", r.StatusCode)
		}},
		{who: "N", name: "call with Forgejo's token, a refresh token, an id", right: "refused", out: func(w *world) result {
			for _, token := range append(w.issued(), "", "null", "undefined", guess(), w.alice.ID(), w.bearer(w.alice)+"x", strings.ToUpper(w.bearer(w.alice)), " "+w.bearer(w.alice)[1:]) {
				if r := w.mcpPost(ping, "Authorization: Bearer "+token); r.StatusCode != 401 {
					return verdict(false, "%d", r.StatusCode)
				}
			}
			return result{true, "401 for all"}
		}},
		{who: "N", name: "take a user's session with an account of one's own", right: "not found", out: func(w *world) result {
			r := w.mcpPost(strings.Replace(ping, "initialize", "tools/list", 1), "Authorization: Bearer "+w.bearer(w.bob), "Mcp-Session-Id: "+w.alice.ID())
			d := w.http("DELETE", "/mcp", "", "Authorization: Bearer "+w.bearer(w.bob), "Mcp-Session-Id: "+w.alice.ID())
			g := w.http("GET", "/mcp", "", "Accept: text/event-stream", "Authorization: Bearer "+w.bearer(w.bob), "Mcp-Session-Id: "+w.alice.ID())
			return verdict(r.StatusCode == 404 && d.StatusCode == 404 && g.StatusCode == 404, "%d, %d, %d", r.StatusCode, d.StatusCode, g.StatusCode)
		}},
		{who: "N", name: "write into the challenge to a client", right: "nothing of the request's", out: func(w *world) result {
			r := w.mcpPost(ping, `Authorization: Bearer x", error="injected`, `Mcp-Session-Id: a", realm="injected`, "Host: evil.example", "X-Forwarded-Host: evil.example")
			return verdict(r.StatusCode == 401 && !strings.Contains(fmt.Sprint(r.Header)+r.body, "injected") && !strings.Contains(fmt.Sprint(r.Header)+r.body, "evil"), "%d %v", r.StatusCode, r.Header["Www-Authenticate"])
		}},
	}
	for _, header := range []string{`{"alg":"none"}`, `{"alg":"None"}`, `{"alg":"HS256"}`, `{"alg":"ES256","jwk":{"kty":"EC"}}`, `{"alg":"ES256","jku":"https://evil.example/k"}`, `{"alg":"ES256","crit":["x"]}`} {
		all = append(all, attack{who: "N", name: "log a client in by an assertion with " + header, right: "refused", out: func(w *world) result {
			r := w.register(`{"redirect_uris":["` + honestURI + `"],"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}}`)
			client := r.field("client_id")
			if client == "" {
				return verdict(false, "cannot try: %d %s", r.StatusCode, r.body)
			}
			enc := base64.RawURLEncoding
			claims := fmt.Sprintf(`{"iss":%q,"sub":%q,"aud":%q,"exp":4102444800,"jti":%q}`, client, client, e2e.PublicURL, guess())
			jwt := enc.EncodeToString([]byte(header)) + "." + enc.EncodeToString([]byte(claims)) + "."
			return w.tokenRequest("grant_type", "authorization_code", "code", "x", "client_id", client, "code_verifier", verifier,
				"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", jwt).denied()
		}})
	}
	return all
}
