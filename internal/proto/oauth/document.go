package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// IsDocumentID reports whether a client id is one that a client ID metadata
// document may stand behind: an https URL. Nothing else about it is checked.
func IsDocumentID(id string) bool { return strings.HasPrefix(id, "https://") }

// ValidateDocumentID says why a client id cannot be the URL of a client ID
// metadata document (draft-ietf-oauth-client-id-metadata-document §3), or nil.
func ValidateDocumentID(id string) error {
	u, err := url.Parse(id)
	switch {
	case len(id) > maxRedirectURI:
		return fmt.Errorf("it is longer than %d bytes", maxRedirectURI)
	case err != nil || u.Scheme != "https" || u.Hostname() == "" || !printable(id) || !printable(u.Host):
		return errors.New("it is not an https URL")
	case u.User != nil:
		return errors.New("it has a user name")
	case strings.Contains(id, "#"):
		return errors.New("it has a fragment")
	case u.Path == "":
		return errors.New("it has no path")
	case slices.ContainsFunc(strings.Split(u.Path, "/"), func(s string) bool { return s == "." || s == ".." }):
		return errors.New("its path has . or .. in it")
	}
	return nil
}

// document is a client ID metadata document as far as this server reads it.
type document struct {
	ClientID string `json:"client_id"`
	Registration
	// Not RFC 7591's, but ChatGPT's document uses it: the methods the client
	// can do, of which the server takes what it likes.
	AuthMethods []string `json:"token_endpoint_auth_methods_supported"`

	// A document is public, so there is nothing these could be good for (§4.1).
	Secret        json.RawMessage `json:"client_secret"`
	SecretExpires json.RawMessage `json:"client_secret_expires_at"`
}

// ParseDocument reads the document of the client id and returns the client.
// Redirect URIs that could not be registered here are left out; without any
// other the document is refused. The keys in it are not looked at. device says whether
// GrantDevice is served.
func ParseDocument(id string, body []byte, allowed Schemes, device bool) (model.Client, error) {
	var d document
	if err := json.Unmarshal(body, &d); err != nil {
		return model.Client{}, errors.New("it is not a JSON object of client metadata")
	}
	switch {
	case d.ClientID != id:
		return model.Client{}, errors.New("its client_id is not its own URL")
	case d.Secret != nil || d.SecretExpires != nil:
		return model.Client{}, errors.New("it holds a client_secret, which a public document cannot")
	}
	if err := d.chooseMethod(); err != nil {
		return model.Client{}, err
	}
	if err := d.keepRedirects(allowed, !device || d.redirects()); err != nil {
		return model.Client{}, err
	}
	if err := d.checkFlow(device); err != nil {
		return model.Client{}, errors.New(err.Description)
	}
	return model.Client{
		ID: id, Kind: model.ClientDocument, Name: CleanName(d.ClientName),
		RedirectURIs: d.RedirectURIs, GrantTypes: d.Logins(), AuthMethod: d.TokenEndpointAuthMethod,
		JWKS: string(d.JWKS), JWKSURI: d.JWKSURI, SigningAlg: d.SigningAlg,
		AllowNone: d.TokenEndpointAuthMethod == AuthPrivateKey && slices.Contains(d.AuthMethods, AuthNone),
	}, nil
}

// chooseMethod settles on none or private_key_jwt: no secret can be agreed on
// through a public document.
func (d *document) chooseMethod() error {
	switch method := d.TokenEndpointAuthMethod; method {
	case AuthNone, AuthPrivateKey:
		return nil
	case "": // RFC 7591's default would be a secret
		d.TokenEndpointAuthMethod = AuthNone
		return nil
	default:
		return fmt.Errorf("its token_endpoint_auth_method is %.40q; it must be none or private_key_jwt", method)
	}
}

func (d *document) keepRedirects(allowed Schemes, needed bool) error {
	if len(d.RedirectURIs) == 0 && needed || len(d.RedirectURIs) > maxRedirectURIs {
		return fmt.Errorf("its redirect_uris must list 1 to %d URIs", maxRedirectURIs)
	}
	var first error
	kept := slices.DeleteFunc(slices.Clone(d.RedirectURIs), func(uri string) bool {
		err := allowed.Validate(uri)
		if err != nil && first == nil {
			first = fmt.Errorf("its redirect URI %.100q cannot be used: %w", uri, err)
		}
		return err != nil
	})
	if len(kept) == 0 && needed {
		return first
	}
	d.RedirectURIs = kept
	return nil
}
