package authserver

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/broker"
	"github.com/fjmcp/fjmcp-broker/internal/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/web"
)

// ErrNoToken says that a request carries no bearer token at all.
var ErrNoToken = errors.New("no bearer token")

// Authenticate returns what the request's bearer token stands for. Only the
// Authorization header is looked at (RFC 6750 §2.1). The error is ErrNoToken,
// broker.ErrNotFound, broker.ErrExpired, broker.ErrRevoked,
// broker.ErrForgejoGrantDead or a failure of the store; Challenge answers each of
// them. A revocation in another process is seen within tokencache.MaxAge.
func (s *Server) Authenticate(r *http.Request) (broker.Access, error) {
	header := r.Header.Get("Authorization")
	scheme, token, _ := strings.Cut(header, " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return broker.Access{}, ErrNoToken
	}
	return s.access.Access(r.Context(), oauth.Hash(token))
}

// Challenge answers a request to endpoint, mcp.PathStreamable or mcp.PathSSE, that
// Authenticate refused, or whose user Forgejo no longer accepts: 401 with where to log in (RFC 9728 §5.1). One that failed for
// broker.ErrInsufficientScope gets 403 with the scope to ask for. A failure that
// says nothing about the token is 503, since a client would throw away a good
// one on 401.
func (s *Server) Challenge(w http.ResponseWriter, endpoint string, err error) {
	description := bearerFault(err)
	if description == "" && !errors.Is(err, ErrNoToken) {
		writeError(w, refusal(err))
		return
	}
	params := []string{
		fmt.Sprintf("resource_metadata=%q", s.resourceMetadataURL(endpoint)),
		fmt.Sprintf("scope=%q", strings.Join(oauth.Scopes(), " ")),
	}
	status, body := http.StatusUnauthorized, oauth.Errorf("invalid_token", "%s", description)
	if errors.Is(err, broker.ErrInsufficientScope) {
		status, body.Code = http.StatusForbidden, "insufficient_scope" // RFC 6750 §3.1
	}
	if description == "" {
		// RFC 6750 §3.1: no error code for a request without a token.
		body.Description = "log in first; WWW-Authenticate says where"
	} else {
		params = append(params, fmt.Sprintf("error=%q", body.Code), fmt.Sprintf("error_description=%q", body.Description))
	}
	w.Header().Set("WWW-Authenticate", "Bearer "+strings.Join(params, ", "))
	web.WriteJSON(w, status, body)
}

// bearerFault says what is wrong with a token, "" if err does not.
func bearerFault(err error) string {
	switch {
	case errors.Is(err, broker.ErrNotFound):
		return "the access token is unknown"
	case errors.Is(err, broker.ErrExpired):
		return "the access token has expired"
	case errors.Is(err, broker.ErrRevoked):
		return "the access token was revoked"
	case errors.Is(err, broker.ErrForgejoGrantDead):
		return "forgejo no longer accepts this login"
	case errors.Is(err, broker.ErrInsufficientScope):
		return "this login may only read; log in again for " + strings.Join(oauth.Scopes(), " ")
	}
	return ""
}
