// Package stateless serves clients that keep no session: those of revision 2026-07-28,
// where every request says in its _meta what it needs to be understood, and those
// of older revisions that call a tool without having initialized. At stake is that what
// a header says, which proxies act on, is what the body has done, and that a call that
// waits for its client is given to nobody else.
//
//	request ─▶ check ─▶ shared session ─▶ call ─▶ translate ─▶ JSON or events
//
// One session per grant and mode serves them all. A backend that speaks 2026-07-28
// itself gets each request as it is. Any other is translated for: what its results
// lack is added, all else passes byte for byte.
//
// # Headers
//
// Version, method, name, and the arguments that a tool's schema marks stand in headers
// as well, and are held against the request (Streamable HTTP, Request Metadata).
//
// # Parked calls
//
//	call ── asks ──▶ parked ── retry with requestState ──▶ taken, continues
//	                    └───── nobody comes back ────────▶ expired
//
// Where a backend of an older revision asks for something only the client can give,
// the client is answered what is wanted, and comes back for the call with it and with
// the requestState it was given (Multi Round-Trip Requests). A requestState is sealed,
// names who may come back and with what request, and is good once. The call itself
// stays here, so no retry runs it again.
package stateless
