package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

// tokens are what a client holds after a login.
type tokens struct {
	client  string
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

// logIn registers a client and logs user in, without the MCP that an SDK does
// beside it.
func logIn(t *testing.T, s *System, user string) tokens {
	t.Helper()
	var registered struct {
		ID string `json:"client_id"`
	}
	must(t, answer(s.post(t.Context(), "/oauth/register", "application/json",
		`{"client_name":"raw of `+user+`","redirect_uris":["`+loginclient.RedirectURI+`"],"token_endpoint_auth_method":"none"}`), &registered))
	verifier := strings.Repeat("v", 43)
	challenge := sha256.Sum256([]byte(verifier))
	back, err := s.Browser(user, nil).Authorize(t.Context(), PublicURL+"/oauth/authorize?"+url.Values{
		"response_type": {"code"}, "client_id": {registered.ID}, "redirect_uri": {loginclient.RedirectURI}, "state": {"s"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}.Encode())
	must(t, err)
	got, err := s.token(t.Context(), url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Code}, "client_id": {registered.ID},
		"redirect_uri": {loginclient.RedirectURI}, "code_verifier": {verifier},
	})
	must(t, err)
	return got
}

// token asks the token endpoint.
func (s *System) token(ctx context.Context, form url.Values) (tokens, error) {
	got := tokens{client: form.Get("client_id")}
	return got, answer(s.post(ctx, "/oauth/token", formType, form.Encode()), &got)
}

const formType = "application/x-www-form-urlencoded"

// reply is a response and why there is none.
type reply struct {
	*http.Response
	err error
}

func (s *System) post(ctx context.Context, path, kind, body string) reply {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, PublicURL+path, strings.NewReader(body))
	if err != nil {
		return reply{err: err}
	}
	r.Header.Set("Content-Type", kind)
	resp, err := s.HTTP().Do(r)
	return reply{resp, err}
}

// answer reads JSON from a response that must be of success; to may be nil.
func answer(r reply, to any) error {
	if r.err != nil {
		return r.err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if r.StatusCode >= 300 {
		return fmt.Errorf("%s: %s", r.Status, b)
	}
	if to == nil {
		return nil
	}
	return json.Unmarshal(b, to)
}
