// Package sockets makes what the broker and one fjmcp-session speak over, and tells it
// apart again when the broker's next process gets our ends.
//
//	broker ── pipe ──────────▶ forgejo-mcp's standard input
//	       ◀─ stream socket ── its standard output
//	       ◀─ packet socket ─▶ fjmcp-session: package control
//
// One socket for standard input and output would do, but wakes its writer whenever the
// reader has taken something: a backend that waits for its next request, once for each
// answer. The launcher hands over the two sockets; the pipe goes over the packet socket
// with the first message.
//
// Package unit imports it.
package sockets
