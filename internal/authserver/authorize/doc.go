// Package authorize takes a user from an authorization request to an authorization
// code: the consent page, the way through Forgejo, and the callback. On the account page
// users take access back.
//
//	GET  /oauth/authorize   what the client wants is checked; the consent page
//	POST /oauth/authorize   the user agrees; a Login with our own state and PKCE
//	                        is stored, bound to the browser's cookie
//	     (Forgejo)          the user logs in there
//	GET  /oauth/callback    same browser? then the code is exchanged, the token
//	                        set stored, a grant made, and the client gets a code
//
//	GET  /device              where a user enters the code of a device (RFC 8628)
//	POST /device              what the code is for, and did the user start it?
//	POST /device/answer       the same way through Forgejo; the device fetches its tokens
//
//	GET  /account             the clients that a user has connected, or the way to log in
//	POST /account/login       the same way through Forgejo, without a client
//	POST /account/disconnect  one client or all
//	POST /account/logout
//
// The consent page, or the question about a device, comes every time: the broker is one
// static client of Forgejo, which remembers its own consent, so without ours any registered
// client could ride on it.
//
// Disconnecting revokes all grants of the user to the client, then ends their
// sessions. When nothing is left that could use Forgejo's token set, the set is
// deleted.
package authorize
