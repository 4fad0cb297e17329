// Package authserver is the OAuth 2.1 authorization server: metadata,
// registration, authorization with consent, the callback from Forgejo, tokens,
// revocation, and the bearer check for the resource server.
//
// A login goes like this:
//
//	GET  /oauth/authorize   what the client wants is checked; the consent page
//	POST /oauth/authorize   the user agrees; a Login with our own state and PKCE
//	                        is stored, bound to the browser's cookie
//	     (Forgejo)          the user logs in there
//	GET  /oauth/callback    same browser? then the code is exchanged, the token
//	                        set stored, a grant made, and the client gets a code
//	POST /oauth/token       code and PKCE verifier for tokens
//
// The consent page comes every time: the broker is one static client of
// Forgejo, which remembers its own consent, so without ours any registered
// client could ride on it.
//
// All URLs are made from the public URL, never from a request's Host.
//
// It imports oauth, web, store, forgejo, upstream and words. Package gateway and
// cmd/fjmcp-broker import it.
package authserver
