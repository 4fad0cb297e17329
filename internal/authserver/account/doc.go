// Package account is the page on which users see the clients they have
// connected and take access back.
//
//	GET  /account             the page, or the way to log in
//	POST /account/disconnect  one client or all
//	POST /account/logout
//
// The login is package authorize's. Its end makes a session of the browser's own:
// a cookie whose hash is stored, for an hour without use and 12 hours in all.
// Every form is bound to that cookie and to the client it names, so that no
// other page can send one.
//
// Disconnecting revokes all grants of the user to the client, then ends their
// sessions. When nothing is left that could use Forgejo's token set, the set is
// deleted.
package account
