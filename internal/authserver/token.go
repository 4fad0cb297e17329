package authserver

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/site"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/proto/endpoint"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

// token is the token endpoint (RFC 6749 §3.2).
func (s *Server) token(ctx context.Context, req tokenRequest) (any, error) {
	grant := req.params.Get("grant_type")
	switch {
	case grant == oauth.GrantCode:
		return s.redeem(ctx, req)
	case grant == oauth.GrantRefresh:
		return s.refresh(ctx, req)
	case grant == oauth.GrantDevice && s.cfg.DeviceGrant:
		return s.redeemDevice(ctx, req)
	case grant == "":
		return nil, oauth.Errorf(oauth.InvalidRequest, "grant_type is missing")
	default:
		return nil, oauth.Errorf(oauth.UnsupportedGrantType, "grant_type %q is not supported", grant)
	}
}

// redeem is the authorization code grant (RFC 6749 §4.1.3).
func (s *Server) redeem(ctx context.Context, req tokenRequest) (any, error) {
	code := req.params.Get("code")
	if code == "" {
		return nil, oauth.Errorf(oauth.InvalidRequest, "code is missing")
	}
	resource, refused := oauth.MatchResources(s.cfg.Issuer, req.params)
	if refused != nil {
		return nil, refused
	}
	grant, stored, err := s.cfg.Store.Code(ctx, code)
	if err != nil {
		return nil, err
	}
	if err := checkCode(req, resource, grant, stored); err != nil {
		return nil, err
	}
	return s.issue(ctx, req.client, "authorization code", func(pair store.Pair) (model.Grant, store.Pair, error) {
		return s.cfg.Store.RedeemCode(ctx, code, req.client, pair)
	})
}

// issue gives a client the first tokens of a login, which redeem makes of a code.
func (s *Server) issue(ctx context.Context, c model.Client, code string, redeem func(store.Pair) (model.Grant, store.Pair, error)) (any, error) {
	grant, pair, err := redeem(s.newPair())
	if err != nil {
		s.reportReuse(ctx, c, grant, code, err)
		return nil, err
	}
	s.givenOut(ctx, audit.TokenIssued, c, grant, pair)
	if s.cfg.Redeemed != nil {
		// Whatever is wrong with it, the client's first request shows.
		if access, err := s.access.Access(ctx, model.Hash(pair.Access)); err == nil {
			s.cfg.Redeemed(access)
		}
	}
	return s.answer(grant, pair), nil
}

// checkCode holds a token request against the authorization request behind the
// code. Only what passes can consume the code, or revoke its family: someone
// who has seen the code but not the verifier can do neither.
func checkCode(req tokenRequest, resource endpoint.Path, g model.Grant, c store.Code) error {
	verifier := req.params.Get("code_verifier")
	redirectURI := req.params.Get("redirect_uri")
	switch {
	case g.ClientID != req.client.ID:
		return oauth.Errorf(oauth.InvalidGrant, "it is unknown, or was issued to another client")
	case redirectURI != "" && redirectURI != c.RedirectURI:
		return oauth.Errorf(oauth.InvalidGrant, "redirect_uri is not that of the authorization request")
	case verifier == "":
		return oauth.Errorf(oauth.InvalidGrant, "code_verifier is missing")
	case !oauth.VerifyPKCE(verifier, c.Challenge):
		return oauth.Errorf(oauth.InvalidGrant, "code_verifier does not match the code_challenge")
	case !sameResource(resource, g.Resource):
		return oauth.Errorf(oauth.InvalidTarget, "resource is not that of the authorization request")
	}
	return nil
}

// sameResource reports whether a token request is for what the login was for. Where one of
// them says nothing it is.
func sameResource(asked endpoint.Path, login string) bool {
	bound, ok := endpoint.Of(login)
	return login == "" || asked == (endpoint.Path{}) || ok && asked.Within(bound) && bound.Within(asked)
}

// refresh is the refresh token grant (RFC 6749 §6), with rotation. A client that asks for
// reading alone has that from then on, and a new login is the way back.
func (s *Server) refresh(ctx context.Context, req tokenRequest) (any, error) {
	token := req.params.Get("refresh_token")
	if token == "" {
		return nil, oauth.Errorf(oauth.InvalidRequest, "refresh_token is missing")
	}
	resource, refused := oauth.MatchResources(s.cfg.Issuer, req.params)
	if refused != nil {
		return nil, refused
	}
	grant, pair, err := s.cfg.Store.Rotate(ctx, token, req.client, s.newPair(), store.Asked{Scope: req.params.Get("scope"), Resource: resource})
	switch {
	case errors.Is(err, model.ErrBroaderScope):
		return nil, oauth.Errorf(oauth.InvalidScope, "this login may only read, as the client asked for; log in again for %s", model.ScopeWrite)
	case errors.Is(err, model.ErrOtherResource): // clients log in again upon this code, and not upon invalid_target
		return nil, oauth.Errorf(oauth.InvalidGrant, "this login is for %s; log in again for %s", grant.Resource, s.cfg.Resource(resource))
	case err != nil:
		s.reportReuse(ctx, req.client, grant, "refresh token", err)
		return nil, err
	}
	s.givenOut(ctx, audit.TokenRefreshed, req.client, grant, pair)
	return s.answer(grant, pair), nil
}

// reportReuse audits that a family was revoked because its code or a refresh
// token was used again.
func (s *Server) reportReuse(ctx context.Context, c model.Client, g model.Grant, what string, err error) {
	if !errors.Is(err, model.ErrReused) {
		return
	}
	e := s.grantEvent(ctx, audit.TokenReused, c, g)
	e.Outcome, e.Failed, e.Detail = "revoked", true, "the "+what+" was used again; all tokens of this login are revoked"
	s.cfg.Audit.Event(ctx, e)
	s.cfg.Revoked(ctx, g.ID)
}

// givenOut audits which refresh token a client was given.
func (s *Server) givenOut(ctx context.Context, kind audit.Kind, c model.Client, g model.Grant, p store.Pair) {
	e := s.grantEvent(ctx, kind, c, g)
	e.Generation = audit.Count(p.Generation)
	s.cfg.Audit.Event(ctx, e)
}

// grantEvent is an event about what c was granted.
func (s *Server) grantEvent(ctx context.Context, kind audit.Kind, c model.Client, g model.Grant) audit.Event {
	e := site.Event(kind, s.cfg.Store.Known(ctx, g.UserID), c)
	e.Grant, e.ReadOnly = g.ID, audit.YesNo(model.ReadOnly(g.Scope))
	return e
}

// newPair is what the store gives a refresh token.
func (s *Server) newPair() store.Pair {
	now := s.cfg.Now()
	return store.Pair{
		Access: model.NewToken(model.PrefixAccess), AccessExpiresAt: now.Add(s.cfg.AccessTTL), RefreshExpiresAt: now.Add(s.cfg.RefreshTTL),
	}
}

func (s *Server) answer(g model.Grant, p store.Pair) oauth.TokenResponse {
	return oauth.TokenResponse{
		AccessToken: p.Access, TokenType: "Bearer", RefreshToken: p.Refresh, Scope: g.Scope,
		ExpiresIn: int64(p.AccessExpiresAt.Sub(s.cfg.Now()) / time.Second),
	}
}

// revoke is RFC 7009: a refresh token ends the whole login, an access token
// itself. An unknown token is as good as revoked.
func (s *Server) revoke(ctx context.Context, req tokenRequest) (any, error) {
	token := req.params.Get("token")
	if token == "" {
		return nil, oauth.Errorf(oauth.InvalidRequest, "token is missing")
	}
	grant, kind, err := s.cfg.Store.RevokeToken(ctx, token, req.client.ID)
	switch {
	case errors.Is(err, model.ErrNotFound):
		return struct{}{}, nil
	case err != nil:
		return nil, err
	}
	e := s.grantEvent(ctx, audit.TokenRevoked, req.client, grant)
	e.Detail = kind
	s.cfg.Audit.Event(ctx, e)
	if kind == store.KindRefresh {
		s.cfg.Revoked(ctx, grant.ID)
	}
	return struct{}{}, nil
}

// introspect tells a client that the operator added for it what an access token
// stands for (RFC 7662). Whatever else it asks about is not active.
func (s *Server) introspect(ctx context.Context, req tokenRequest) (any, error) {
	token := req.params.Get("token")
	switch {
	case !req.client.Introspect:
		refused := oauth.Errorf(oauth.UnauthorizedClient,
			"this client may not ask about tokens; the operator adds one that may with fjmcpctl clients add --introspect")
		refused.HTTPStatus = http.StatusForbidden
		return nil, refused
	case token == "":
		return nil, oauth.Errorf(oauth.InvalidRequest, "token is missing")
	}
	access, err := s.cfg.Store.Access(ctx, model.Hash(token))
	switch {
	case bearerFault(err) != "":
		return oauth.Introspection{}, nil
	case err != nil:
		return nil, err
	}
	return oauth.Introspection{
		Active: true, Scope: access.Scope, ClientID: access.ClientID, Username: access.User.Name, TokenType: "Bearer",
		ExpiresAt: access.ExpiresAt.Unix(), Subject: access.User.Subject, Audience: access.Resource, Issuer: s.cfg.Issuer,
	}, nil
}
