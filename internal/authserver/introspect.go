package authserver

import (
	"errors"
	"net/http"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

// introspect tells a client that the operator added for it what an access token
// stands for (RFC 7662). Whatever else it asks about is not active.
func (s *Server) introspect(w http.ResponseWriter, r *http.Request) {
	req, err := s.readTokenRequest(w, r)
	if err != nil {
		s.refuseToken(w, r, err)
		return
	}
	token := req.params.Get("token")
	switch {
	case !req.client.Introspect:
		httpserver.WriteJSON(w, http.StatusForbidden, oauth.Errorf(oauth.UnauthorizedClient, "this client may not ask about tokens; the operator adds one that may with fjmcpctl clients add --introspect"))
		return
	case token == "":
		writeError(w, oauth.Errorf(oauth.InvalidRequest, "token is missing"))
		return
	}
	access, err := s.cfg.Store.Access(r.Context(), model.Hash(token))
	switch {
	case errors.Is(err, model.ErrNotFound), errors.Is(err, model.ErrExpired), errors.Is(err, model.ErrRevoked), errors.Is(err, model.ErrForgejoGrantDead):
		httpserver.WriteJSON(w, http.StatusOK, oauth.Introspection{})
	case err != nil:
		s.refuseToken(w, r, err)
	default:
		httpserver.WriteJSON(w, http.StatusOK, oauth.Introspection{
			Active: true, Scope: access.Scope, ClientID: access.ClientID, Username: access.User.Name, TokenType: "Bearer",
			ExpiresAt: access.ExpiresAt.Unix(), Subject: access.User.Subject, Issuer: s.issuer,
		})
	}
}
