// Package oauth holds the words of OAuth 2.1 as fjmcp speaks it: the error type
// (RFC 6749 §5.2), PKCE (RFC 7636), metadata documents (RFC 8414, RFC 9728),
// client registration (RFC 7591), the codes of devices (RFC 8628), redirect URI rules
// (RFC 8252), resource indicators (RFC 8707), client authentication, and opaque tokens.
//
// It parses and decides, and holds no handlers and no state.
package oauth

import (
	"errors"
	"fmt"
	"net/http"
)

// Error codes of RFC 6749 §4.1.2.1 and §5.2, RFC 7591 §3.2.2, RFC 7009 §2.2.1
// and RFC 8707 §2.
const (
	InvalidRequest          = "invalid_request"
	InvalidClient           = "invalid_client"
	InvalidGrant            = "invalid_grant"
	UnauthorizedClient      = "unauthorized_client"
	UnsupportedGrantType    = "unsupported_grant_type"
	UnsupportedResponseType = "unsupported_response_type"
	InvalidScope            = "invalid_scope"
	InvalidTarget           = "invalid_target"
	AccessDenied            = "access_denied"
	ServerError             = "server_error"
	TemporarilyUnavailable  = "temporarily_unavailable"
	InvalidRedirectURI      = "invalid_redirect_uri"
	InvalidClientMetadata   = "invalid_client_metadata"
)

// Error is the JSON body of RFC 6749 §5.2. Description is shown to the client,
// so it names the fault and never an internal.
type Error struct {
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
	HTTPStatus  int    `json:"-"` // where it is not the code's
}

// Errorf returns an Error with a formatted description. Characters outside
// RFC 6749's set for error_description become '?', since values that a client
// sent may stand in it.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Description: describable(fmt.Sprintf(format, args...))}
}

// Error returns code and description.
func (e *Error) Error() string { return e.Code + ": " + e.Description }

// Status is the HTTP status the error travels with.
func (e *Error) Status() int {
	if e.HTTPStatus != 0 {
		return e.HTTPStatus
	}
	switch e.Code {
	case InvalidClient:
		return http.StatusUnauthorized
	case ServerError:
		return http.StatusInternalServerError
	case TemporarilyUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// BodyError says why a request's body could not be read.
func BodyError(err error) *Error {
	var tooBig *http.MaxBytesError
	if errors.As(err, &tooBig) {
		return Errorf(InvalidRequest, "the body is larger than %d bytes", tooBig.Limit)
	}
	return Errorf(InvalidRequest, "the body cannot be read")
}

// describable keeps to %x20-21 / %x23-5B / %x5D-7E and 300 bytes.
func describable(s string) string {
	out := []byte(s[:min(len(s), 300)])
	for i, c := range out {
		switch {
		case c == '"':
			out[i] = '\''
		case c < 0x20 || c > 0x7e || c == '\\':
			out[i] = '?'
		}
	}
	return string(out)
}
