package authserver

import (
	"net/http"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
	"github.com/fjmcp/fjmcp-broker/internal/proto/endpoint"
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
	handle := func(path string, h http.HandlerFunc) {
		served := httpserver.CORS(h, http.MethodGet)
		mux.Handle(path, served)
		mux.Handle(path+"/{$}", served)
	}
	for suffix, of := range map[string]func() oauth.ServerMetadata{"oauth-authorization-server": s.serverMetadata, "openid-configuration": s.openIDMetadata} {
		paths := map[string]bool{"/.well-known/" + suffix: true}
		for _, tail := range append([]string{""}, endpoint.Patterns...) {
			paths["/.well-known/"+suffix+s.prefix+tail], paths[s.prefix+tail+"/.well-known/"+suffix] = true, true
		}
		for path := range paths {
			handle(path, func(w http.ResponseWriter, r *http.Request) {
				if toolset := r.PathValue("toolset"); toolset != "" && !endpoint.Offers(toolset) {
					noDocument(w, r)
					return
				}
				httpserver.WriteJSON(w, http.StatusOK, of())
			})
		}
	}
	mux.Handle(resourcePath, httpserver.CORS(func(w http.ResponseWriter, _ *http.Request) {
		httpserver.WriteJSON(w, http.StatusOK, s.resourceMetadata(endpoint.All()[0]))
	}, http.MethodGet))
	for _, pattern := range endpoint.Patterns {
		handle(resourcePath+s.prefix+pattern, s.serveResource)
	}
	unknown := httpserver.CORS(noDocument, http.MethodGet)
	mux.Handle("/.well-known/", unknown)
	if s.prefix != "" {
		mux.Handle(s.prefix+"/.well-known/", unknown)
	}
}

const resourcePath = "/.well-known/oauth-protected-resource" // RFC 9728 §3

// serveResource serves the document of the endpoint that its path names.
func (s *Server) serveResource(w http.ResponseWriter, r *http.Request) {
	at, err := endpoint.Parse(strings.TrimPrefix(r.URL.EscapedPath(), resourcePath+s.prefix))
	if err != nil {
		noDocument(w, r)
		return
	}
	httpserver.WriteJSON(w, http.StatusOK, s.resourceMetadata(at))
}

func noDocument(w http.ResponseWriter, _ *http.Request) {
	httpserver.WriteJSON(w, http.StatusNotFound, map[string]string{"error": "not_found"})
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

func (s *Server) resourceMetadata(at endpoint.Path) oauth.ResourceMetadata {
	name := "Forgejo at " + s.cfg.Forgejo.Origin()
	if at.Toolset != "" {
		name += ", " + at.Toolset
	}
	if at.ReadOnly {
		name += ", read only"
	}
	return oauth.ResourceMetadata{
		Resource:               s.cfg.Issuer + at.String(),
		AuthorizationServers:   []string{s.cfg.Issuer},
		ScopesSupported:        s.scopes(at),
		BearerMethodsSupported: []string{"header"},
		ResourceName:           name,
	}
}

// scopes are those that a client of an endpoint may ask for.
func (s *Server) scopes(at endpoint.Path) []string {
	return model.Scopes(s.cfg.Forgejo.MayWrite() && !at.ReadOnly)
}

// resourceMetadataURL is where the challenge points to: path-inserted, at the
// origin's root (RFC 9728 §3.1).
func (s *Server) resourceMetadataURL(at endpoint.Path) string {
	root := s.cfg.Issuer[:len(s.cfg.Issuer)-len(s.prefix)]
	return root + resourcePath + s.prefix + at.String()
}

// jwks is empty: there are no ID tokens, and access tokens are opaque.
func (s *Server) jwks(w http.ResponseWriter, _ *http.Request) {
	httpserver.WriteJSON(w, http.StatusOK, map[string][]string{"keys": {}})
}
