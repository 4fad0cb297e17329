package authserver

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

// ErrNoToken says that a request carries no bearer token at all.
var ErrNoToken = errors.New("no bearer token")

// Authenticate returns what the request's bearer token stands for. Only the
// Authorization header is looked at (RFC 6750 §2.1). The error is ErrNoToken,
// model.ErrNotFound, model.ErrExpired, model.ErrRevoked,
// model.ErrForgejoGrantDead or a failure of the store; Challenge answers each of
// them. A revocation in another process is seen within AccessMaxAge.
func (s *Server) Authenticate(r *http.Request) (model.Access, error) {
	header := r.Header.Get("Authorization")
	scheme, token, _ := strings.Cut(header, " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return model.Access{}, ErrNoToken
	}
	return s.access.Access(r.Context(), model.Hash(token))
}

// Challenge says what to answer to a request to endpoint, mcp.PathStreamable or
// mcp.PathSSE, that Authenticate refused, or whose user Forgejo no longer accepts: 401
// with where to log in (RFC 9728 §5.1), which header is for WWW-Authenticate. One that
// failed for model.ErrInsufficientScope gets 403 with the scope to ask for. A failure
// that says nothing about the token is 503 without a header, since a client would throw
// away a good one on 401.
func (s *Server) Challenge(endpoint string, err error) (status int, header string, body *oauth.Error) {
	description := bearerFault(err)
	if description == "" && !errors.Is(err, ErrNoToken) {
		body = refusal(err)
		return body.Status(), "", body
	}
	params := []string{
		fmt.Sprintf("resource_metadata=%q", s.resourceMetadataURL(endpoint)),
		fmt.Sprintf("scope=%q", strings.Join(model.Scopes(), " ")),
	}
	status, body = http.StatusUnauthorized, oauth.Errorf("invalid_token", "%s", description)
	if errors.Is(err, model.ErrInsufficientScope) {
		status, body.Code = http.StatusForbidden, "insufficient_scope" // RFC 6750 §3.1
	}
	if description == "" {
		// RFC 6750 §3.1: no error code for a request without a token.
		body.Description = "log in first; WWW-Authenticate says where"
	} else {
		params = append(params, fmt.Sprintf("error=%q", body.Code), fmt.Sprintf("error_description=%q", body.Description))
	}
	return status, "Bearer " + strings.Join(params, ", "), body
}

// bearerFault says what is wrong with a token, "" if err does not.
func bearerFault(err error) string {
	switch {
	case errors.Is(err, model.ErrNotFound):
		return "the access token is unknown"
	case errors.Is(err, model.ErrExpired):
		return "the access token has expired"
	case errors.Is(err, model.ErrRevoked):
		return "the access token was revoked"
	case errors.Is(err, model.ErrForgejoGrantDead):
		return "forgejo no longer accepts this login"
	case errors.Is(err, model.ErrInsufficientScope):
		return "this login may only read; log in again for " + strings.Join(model.Scopes(), " ")
	}
	return ""
}
