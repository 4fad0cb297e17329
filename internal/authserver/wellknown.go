package authserver

import (
	"net/http"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

// wellKnown registers every form of the documents that clients probe: for an
// issuer https://host/p the path-inserted one (RFC 8414 §3.1), OpenID's appended
// one, and ChatGPT's with the endpoint's path as well.
func (s *Server) wellKnown(mux *http.ServeMux) {
	server := document(s.serverMetadata())
	openid := document(s.openIDMetadata())
	for _, tail := range append([]string{""}, endpoints...) {
		mux.Handle("/.well-known/oauth-authorization-server"+s.prefix+tail, server)
		mux.Handle("/.well-known/openid-configuration"+s.prefix+tail, openid)
		if s.prefix != "" || tail != "" {
			mux.Handle(s.prefix+tail+"/.well-known/oauth-authorization-server", server)
			mux.Handle(s.prefix+tail+"/.well-known/openid-configuration", openid)
		}
	}
	mux.Handle("/.well-known/oauth-protected-resource", document(s.resourceMetadata(endpoints[0])))
	for _, path := range endpoints {
		mux.Handle("/.well-known/oauth-protected-resource"+s.prefix+path, document(s.resourceMetadata(path)))
	}
	unknown := httpserver.CORS(func(w http.ResponseWriter, _ *http.Request) {
		httpserver.WriteJSON(w, http.StatusNotFound, map[string]string{"error": "not_found"})
	}, http.MethodGet)
	mux.Handle("/.well-known/", unknown)
	if s.prefix != "" {
		mux.Handle(s.prefix+"/.well-known/", unknown)
	}
}

func (s *Server) serverMetadata() oauth.ServerMetadata {
	return oauth.ServerMetadata{
		Issuer:                                     s.cfg.Issuer,
		AuthorizationEndpoint:                      s.cfg.Issuer + "/oauth/authorize",
		TokenEndpoint:                              s.cfg.Issuer + "/oauth/token",
		RegistrationEndpoint:                       s.cfg.Issuer + "/oauth/register",
		RevocationEndpoint:                         s.cfg.Issuer + "/oauth/revoke",
		IntrospectionEndpoint:                      s.cfg.Issuer + "/oauth/introspect",
		ScopesSupported:                            model.Scopes(),
		ResponseTypesSupported:                     []string{oauth.ResponseCode},
		ResponseModesSupported:                     []string{"query"},
		GrantTypesSupported:                        oauth.GrantTypes(),
		TokenEndpointAuthMethodsSupported:          oauth.AuthMethods(),
		TokenEndpointAuthSigningAlgsSupported:      oauth.SigningAlgs(),
		RevocationEndpointAuthMethodsSupported:     oauth.AuthMethods(),
		RevocationEndpointAuthSigningAlgsSupported: oauth.SigningAlgs(),
		IntrospectionEndpointAuthMethodsSupported:  []string{oauth.AuthBasic, oauth.AuthPost},
		CodeChallengeMethodsSupported:              []string{oauth.S256},
		AuthorizationResponseIssParameterSupported: true,
		ClientIDMetadataDocumentSupported:          s.cfg.Documents != nil,
	}
}

// openIDMetadata adds what OpenID clients insist on. No ID token is ever issued.
func (s *Server) openIDMetadata() oauth.ServerMetadata {
	m := s.serverMetadata()
	m.JWKSURI = s.cfg.Issuer + "/oauth/jwks"
	m.SubjectTypesSupported = []string{"public"}
	m.IDTokenSigningAlgValuesSupported = []string{"RS256"}
	return m
}

func (s *Server) resourceMetadata(path string) oauth.ResourceMetadata {
	return oauth.ResourceMetadata{
		Resource:               s.cfg.Issuer + path,
		AuthorizationServers:   []string{s.cfg.Issuer},
		ScopesSupported:        model.Scopes(),
		BearerMethodsSupported: []string{"header"},
		ResourceName:           "Forgejo at " + s.cfg.Forgejo.Origin(),
	}
}

// resourceMetadataURL is where the challenge points to: path-inserted, at the
// origin's root (RFC 9728 §3.1).
func (s *Server) resourceMetadataURL(path string) string {
	root := s.cfg.Issuer[:len(s.cfg.Issuer)-len(s.prefix)]
	return root + "/.well-known/oauth-protected-resource" + s.prefix + path
}

// jwks is empty: there are no ID tokens, and access tokens are opaque.
func (s *Server) jwks(w http.ResponseWriter, _ *http.Request) {
	httpserver.WriteJSON(w, http.StatusOK, map[string][]string{"keys": {}})
}

// document serves one JSON value to any origin.
func document(v any) http.Handler {
	return httpserver.CORS(func(w http.ResponseWriter, _ *http.Request) { httpserver.WriteJSON(w, http.StatusOK, v) }, http.MethodGet)
}
