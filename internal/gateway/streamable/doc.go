// Package streamable is the Streamable HTTP transport of the revisions with a
// handshake, 2025-03-26 to 2025-11-25: messages by POST to the session that
// Mcp-Session-Id names, answered with JSON when the response comes first and with an
// event stream when something precedes it; the session's own stream at GET; both
// resumed by Last-Event-ID; DELETE. It is called with authenticated requests only.
package streamable
