// Package forgeproxy is the HTTP proxy inside a session: it lets requests through
// to one forge only and sets the user's token on them, so that the program that
// uses it needs none.
//
// For an http forge it takes absolute-form requests (RFC 9112 §3.2.2); for an https
// forge CONNECT, whose TLS it terminates with a certificate made at start. Where
// HTTP clients bypass proxies, for loopback, it poses as the forge itself. All
// else gets 403. Redirects go back to the client, whose next request is checked
// again.
//
// What goes to the forge is what package forgeapi lists, with the header fields and
// bodies that its API needs, and a few requests at a time. What comes back is searched
// for the token.
//
// When the forge answers 401, the request is held for a new token and sent again
// once.
package forgeproxy
