package mcp

import "slices"

// Revisions of the protocol with a handshake, oldest first.
const (
	Version20241105 = "2024-11-05"
	Version20250326 = "2025-03-26"
	Version20250618 = "2025-06-18"
	Version20251125 = "2025-11-25"
	// Version20260728 is the stateless revision. Clients of two generations
	// send it as a header also within a session of an older revision.
	Version20260728 = "2026-07-28"
)

var known = []string{Version20241105, Version20250326, Version20250618, Version20251125, Version20260728}

// KnownVersion reports whether v names a published revision.
func KnownVersion(v string) bool { return slices.Contains(known, v) }

// Methods the relay has to know by name.
const (
	MethodInitialize      = "initialize"
	MethodInitialized     = "notifications/initialized"
	MethodCancelled       = "notifications/cancelled"
	MethodProgress        = "notifications/progress"
	MethodLog             = "notifications/message"
	MethodToolsCall       = "tools/call"
	MethodSetLoggingLevel = "logging/setLevel"
)

// Header names of Streamable HTTP.
const (
	HeaderSessionID       = "Mcp-Session-Id"
	HeaderProtocolVersion = "MCP-Protocol-Version"
)
