package authserver

import (
	"io"
	"net/http"

	"github.com/fjmcp/fjmcp-broker/internal/audit"
	"github.com/fjmcp/fjmcp-broker/internal/broker"
	"github.com/fjmcp/fjmcp-broker/internal/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/web"
)

const maxRegistration = 64 << 10 // bytes

// register is dynamic client registration (RFC 7591 §3).
func (s *Server) register(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRegistration))
	if err != nil {
		writeError(w, oauth.BodyError(err))
		return
	}
	reg, refused := oauth.ParseRegistration(body)
	if refused != nil {
		writeError(w, refused)
		return
	}
	client, secret := s.newClient(reg)
	if err := s.cfg.Store.CreateClient(r.Context(), client); err != nil {
		s.cfg.Log.ErrorContext(r.Context(), "cannot store a client", "error", err)
		writeError(w, refusal(err))
		return
	}
	s.event(r.Context(), audit.Event{Kind: audit.ClientRegistered, Client: oauth.ClientName(client), Outcome: "ok", Detail: client.ID})
	web.WriteJSON(w, http.StatusCreated, registered(client, secret, reg))
}

func (s *Server) newClient(reg oauth.Registration) (broker.Client, string) {
	c := broker.Client{
		ID: oauth.NewID(), Name: reg.ClientName, AuthMethod: reg.TokenEndpointAuthMethod,
		RedirectURIs: reg.RedirectURIs, GrantTypes: reg.GrantTypes, URI: reg.ClientURI, CreatedAt: s.cfg.Now(),
	}
	if c.AuthMethod == oauth.AuthNone {
		return c, ""
	}
	secret := oauth.NewToken(oauth.PrefixClientSecret)
	c.SecretHash = oauth.Hash(secret)
	return c, secret
}

func registered(c broker.Client, secret string, reg oauth.Registration) oauth.RegistrationResponse {
	answer := oauth.RegistrationResponse{ClientID: c.ID, ClientIDIssuedAt: c.CreatedAt.Unix(), ClientSecret: secret, Registration: reg}
	if secret != "" {
		answer.ClientSecretExpiresAt = new(int64) // 0: it does not expire
	}
	return answer
}
