package authserver

import (
	"net/http"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

// wellKnown registers every form of the documents that clients probe: for an
// issuer https://host/p the path-inserted one (RFC 8414 §3.1), OpenID's appended
// one, ChatGPT's with the endpoint's path as well, and the origin's own, which is
// all that clients of 2025-03-26 know. Each also with a slash at its end, as people
// type it. A resource's document names it as it was asked for: clients compare that
// to the URL they were given (RFC 9728 §3.3).
func (s *Server) wellKnown(mux *http.ServeMux) {
	handle := func(path string, document func(slash string) http.Handler) {
		mux.Handle(path, document(""))
		mux.Handle(path+"/{$}", document("/"))
	}
	server, openid := document(s.serverMetadata), document(s.openIDMetadata)
	for suffix, of := range map[string]http.Handler{"oauth-authorization-server": server, "openid-configuration": openid} {
		same := func(string) http.Handler { return of }
		paths := map[string]bool{"/.well-known/" + suffix: true}
		for _, tail := range append([]string{""}, endpoints...) {
			paths["/.well-known/"+suffix+s.prefix+tail], paths[s.prefix+tail+"/.well-known/"+suffix] = true, true
		}
		for path := range paths {
			handle(path, same)
		}
	}
	resource := func(path string) func(string) http.Handler {
		return func(slash string) http.Handler {
			return document(func() oauth.ResourceMetadata { return s.resourceMetadata(path + slash) })
		}
	}
	mux.Handle("/.well-known/oauth-protected-resource", resource(endpoints[0])(""))
	for _, path := range endpoints {
		handle("/.well-known/oauth-protected-resource"+s.prefix+path, resource(path))
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
	m := oauth.ServerMetadata{
		Issuer:                                     s.cfg.Issuer,
		AuthorizationEndpoint:                      s.cfg.Issuer + "/oauth/authorize",
		TokenEndpoint:                              s.cfg.Issuer + "/oauth/token",
		RegistrationEndpoint:                       s.cfg.Issuer + "/oauth/register",
		RevocationEndpoint:                         s.cfg.Issuer + "/oauth/revoke",
		IntrospectionEndpoint:                      s.cfg.Issuer + "/oauth/introspect",
		ScopesSupported:                            model.Scopes(s.cfg.Forgejo.MayWrite()),
		ResponseTypesSupported:                     []string{oauth.ResponseCode},
		ResponseModesSupported:                     []string{"query"},
		GrantTypesSupported:                        oauth.GrantTypes(s.cfg.DeviceGrant),
		TokenEndpointAuthMethodsSupported:          oauth.AuthMethods(),
		TokenEndpointAuthSigningAlgsSupported:      oauth.SigningAlgs(),
		RevocationEndpointAuthMethodsSupported:     oauth.AuthMethods(),
		RevocationEndpointAuthSigningAlgsSupported: oauth.SigningAlgs(),
		IntrospectionEndpointAuthMethodsSupported:  []string{oauth.AuthBasic, oauth.AuthPost},
		CodeChallengeMethodsSupported:              []string{oauth.S256},
		AuthorizationResponseIssParameterSupported: true,
		ClientIDMetadataDocumentSupported:          s.cfg.Documents != nil && s.cfg.Documents.Reachable(),
	}
	if s.cfg.DeviceGrant {
		m.DeviceAuthorizationEndpoint = s.cfg.Issuer + pathDevice
	}
	return m
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
		ScopesSupported:        model.Scopes(s.cfg.Forgejo.MayWrite()),
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

// document serves what of returns, as JSON, to any origin.
func document[T any](of func() T) http.Handler {
	return httpserver.CORS(func(w http.ResponseWriter, _ *http.Request) { httpserver.WriteJSON(w, http.StatusOK, of()) }, http.MethodGet)
}
