// Package clientauth finds OAuth clients, wherever they are described, and
// authenticates them: not at all, by their secret (RFC 6749 §2.3.1), or by an
// assertion signed with their private key (RFC 7521 §4.2, RFC 7523 §3).
//
// A client is in the store, or its id is the URL of a client ID metadata
// document. The document is read when a user is to agree to the client; what it
// said is then stored, and the token endpoint goes by that, so that no refresh
// depends on a stranger's web server. Only keys are read anew there.
package clientauth
