package authserver

import (
	"context"
	"errors"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

// introspect tells a client that the operator added for it what an access token
// stands for (RFC 7662). Whatever else it asks about is not active.
func (s *Server) introspect(ctx context.Context, req tokenRequest) (any, error) {
	token := req.params.Get("token")
	switch {
	case !req.client.Introspect:
		return nil, oauth.Errorf(oauth.UnauthorizedClient, "this client may not ask about tokens; the operator adds one that may with fjmcpctl clients add --introspect")
	case token == "":
		return nil, oauth.Errorf(oauth.InvalidRequest, "token is missing")
	}
	access, err := s.cfg.Store.Access(ctx, model.Hash(token))
	switch {
	case errors.Is(err, model.ErrNotFound), errors.Is(err, model.ErrExpired), errors.Is(err, model.ErrRevoked), errors.Is(err, model.ErrForgejoGrantDead):
		return oauth.Introspection{}, nil
	case err != nil:
		return nil, err
	}
	return oauth.Introspection{
		Active: true, Scope: access.Scope, ClientID: access.ClientID, Username: access.User.Name, TokenType: "Bearer",
		ExpiresAt: access.ExpiresAt.Unix(), Subject: access.User.Subject, Issuer: s.issuer,
	}, nil
}
