// Package oauth holds the words of OAuth 2.1 as fjmcp speaks it: the error type
// (RFC 6749 §5.2), PKCE (RFC 7636), metadata documents (RFC 8414, RFC 9728),
// client registration (RFC 7591), redirect URI rules (RFC 8252), resource
// indicators (RFC 8707), client authentication, and opaque tokens.
//
// It parses and decides, and holds no handlers and no state.
package oauth
