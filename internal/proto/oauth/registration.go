package oauth

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// Grant types and the response type of this server.
const (
	GrantCode    = "authorization_code"
	GrantRefresh = "refresh_token"
	ResponseCode = "code"
)

// GrantTypes lists the grant types served, GrantDevice if device says so.
func GrantTypes(device bool) []string {
	if device {
		return []string{GrantCode, GrantRefresh, GrantDevice}
	}
	return []string{GrantCode, GrantRefresh}
}

// MayUse reports whether a client registered for a grant type, GrantCode or GrantDevice.
func MayUse(c model.Client, grant string) bool {
	if len(c.GrantTypes) == 0 {
		return grant == GrantCode
	}
	return slices.Contains(c.GrantTypes, grant)
}

const (
	maxRedirectURIs = 32
)

// Registration is the client metadata of RFC 7591 §2 that this server reads and
// echoes. Everything else a client sends is ignored.
type Registration struct {
	RedirectURIs            []string `json:"redirect_uris"`
	TokenEndpointAuthMethod string   `json:"token_endpoint_auth_method"`
	GrantTypes              []string `json:"grant_types"`
	ResponseTypes           []string `json:"response_types"`
	ClientName              string   `json:"client_name,omitempty"`
	ClientURI               string   `json:"client_uri,omitempty"`
	Scope                   string   `json:"scope"`

	// For private_key_jwt. The keys themselves are not looked at here.
	JWKS       json.RawMessage `json:"jwks,omitempty"`
	JWKSURI    string          `json:"jwks_uri,omitempty"`
	SigningAlg string          `json:"token_endpoint_auth_signing_alg,omitempty"`
}

// RegistrationResponse is the answer of RFC 7591 §3.2.1. A public client has no
// secret fields at all.
type RegistrationResponse struct {
	ClientID              string `json:"client_id"`
	ClientIDIssuedAt      int64  `json:"client_id_issued_at"` // seconds since 1970
	ClientSecret          string `json:"client_secret,omitempty"`
	ClientSecretExpiresAt *int64 `json:"client_secret_expires_at,omitempty"` // 0: never
	Registration
}

// ParseRegistration reads a registration request, fills in the defaults and
// refuses what this server cannot honour. The scope is what will be granted,
// whatever was asked for. device says whether GrantDevice is served.
func ParseRegistration(body []byte, allowed Schemes, device bool) (Registration, *Error) {
	var r Registration
	if err := json.Unmarshal(body, &r); err != nil {
		var wrongType *json.UnmarshalTypeError
		if errors.As(err, &wrongType) && wrongType.Field != "" {
			return r, Errorf(InvalidClientMetadata, "%s is a JSON %s and must be a %s", wrongType.Field, wrongType.Value, jsonType(wrongType.Field))
		}
		return r, Errorf(InvalidClientMetadata, "the body is not a JSON object")
	}
	if err := r.CheckRedirects(allowed, !device || r.redirects()); err != nil {
		return r, err
	}
	if err := r.checkFlow(device); err != nil {
		return r, err
	}
	r.ClientName = CleanName(r.ClientName)
	r.ClientURI = webURL(r.ClientURI)
	r.Scope = model.GrantedScope(r.Scope)
	return r, nil
}

func jsonType(field string) string {
	switch field {
	case "redirect_uris", "grant_types", "response_types":
		return "list of strings"
	}
	return "string"
}

// CheckRedirects refuses a list of redirect URIs that cannot be registered, and
// names the first fault. Only what logs in by redirects needs any (RFC 7591 §2).
func (r *Registration) CheckRedirects(allowed Schemes, needed bool) *Error {
	if len(r.RedirectURIs) == 0 && needed || len(r.RedirectURIs) > maxRedirectURIs {
		return Errorf(InvalidRedirectURI, "redirect_uris must list 1 to %d URIs", maxRedirectURIs)
	}
	for _, uri := range r.RedirectURIs {
		if err := allowed.Validate(uri); err != nil {
			return Errorf(InvalidRedirectURI, "the redirect URI %.60q cannot be registered: %v", uri, err)
		}
	}
	return nil
}

// redirects reports whether the client logs in by GrantCode, which is so where it names no
// grant type.
func (r *Registration) redirects() bool {
	return len(r.GrantTypes) == 0 || slices.Contains(r.GrantTypes, GrantCode)
}

// Logins are the grant types by which the client logs in, for model.Client: none where
// that is GrantCode alone.
func (r *Registration) Logins() []string {
	if !slices.Contains(r.GrantTypes, GrantDevice) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(r.GrantTypes), func(grant string) bool { return grant == GrantRefresh })
}

// checkFlow sets auth method, grant and response types. Types beyond ours are
// dropped, as RFC 7591 §2 lets a server do; without ours nothing would work.
func (r *Registration) checkFlow(device bool) *Error {
	switch r.TokenEndpointAuthMethod {
	case "":
		r.TokenEndpointAuthMethod = AuthBasic
	case AuthNone, AuthBasic, AuthPost, AuthPrivateKey:
	default:
		return Errorf(InvalidClientMetadata, "token_endpoint_auth_method %q is not supported; use one of %s", r.TokenEndpointAuthMethod, strings.Join(AuthMethods(), ", "))
	}
	if !r.redirects() && !device {
		return Errorf(InvalidClientMetadata, "grant_types must include %s", GrantCode)
	}
	device = device && slices.Contains(r.GrantTypes, GrantDevice)
	switch {
	case !r.redirects() && !device:
		return Errorf(InvalidClientMetadata, "grant_types must include %s or %s", GrantCode, GrantDevice)
	case !r.redirects(): // what it says of responses has no meaning then
		r.GrantTypes, r.ResponseTypes = []string{GrantRefresh, GrantDevice}, []string{}
		return r.checkKeys()
	}
	if len(r.ResponseTypes) > 0 && !slices.Contains(r.ResponseTypes, ResponseCode) {
		return Errorf(InvalidClientMetadata, "response_types must include %s", ResponseCode)
	}
	r.GrantTypes, r.ResponseTypes = GrantTypes(device), []string{ResponseCode}
	return r.checkKeys()
}

// checkKeys wants one place to find the keys of private_key_jwt, and forgets
// keys that nothing would use.
func (r *Registration) checkKeys() *Error {
	if string(r.JWKS) == "null" {
		r.JWKS = nil
	}
	if r.TokenEndpointAuthMethod != AuthPrivateKey {
		r.JWKS, r.JWKSURI, r.SigningAlg = nil, "", ""
		return nil
	}
	switch {
	case (r.JWKS == nil) == (r.JWKSURI == ""):
		return Errorf(InvalidClientMetadata, "private_key_jwt needs either jwks or jwks_uri (RFC 7591 section 2)")
	case r.JWKSURI != "" && !strings.HasPrefix(webURL(r.JWKSURI), "https:"):
		return Errorf(InvalidClientMetadata, "jwks_uri must be an https URL")
	case r.SigningAlg != "" && !slices.Contains(SigningAlgs(), r.SigningAlg):
		return Errorf(InvalidClientMetadata, "token_endpoint_auth_signing_alg %q is not supported; use one of %s", r.SigningAlg, strings.Join(SigningAlgs(), ", "))
	}
	return nil
}

// webURL returns raw when it is an http(s) URL, else "".
func webURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || len(raw) > maxRedirectURI || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	return raw
}
