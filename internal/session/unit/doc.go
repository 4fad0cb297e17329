// Package unit runs one fjmcp-session unit from start to end: the launcher's call,
// its credential and the tokens after it, its mode, its reap timer, the backend's
// first answer and its last words. At stake is the token, which the backend must not
// see, and the mode, which must be confirmed before the backend is asked anything.
//
//	New ──▶ Launch ──▶ Initialize ──▶ Call, Notify, Respond … ──▶ gone
//	Adopt ──▶ Attend ──▶ Settle ──▶ …   in the next process ◀── Suspend
//
// It knows nothing of limits, of stored sessions, or of what came before it.
//
// # First words
//
// For clients that have no session the unit begins to speak with its backend itself
// (discover.go): it finds out which revision of MCP to speak, learns what the backend
// says of itself, and refuses one that the broker cannot work with.
//
// # Sockets
//
//	broker ── pipe ──────────▶ forgejo-mcp's standard input
//	       ◀─ stream socket ── its standard output
//	       ◀─ packet socket ─▶ fjmcp-session: package control
//
// One socket for standard input and output would do, but wakes its writer whenever the
// reader has taken something: a backend that waits for its next request, once for each
// answer. The launcher hands over the two sockets; the pipe goes over the packet socket
// with the first message. The broker's next process gets our ends and tells them apart.
//
// # Refusals
//
// A request that the proxy did not send to the forge belongs to a tool call; which one
// is found in refusal.go, so that its client and the audit are told why.
package unit
