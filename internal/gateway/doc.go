// Package gateway is the MCP resource server: Streamable HTTP (2025-03-26 to
// 2025-11-25) at one endpoint, every request authenticated by its bearer token
// before anything else is looked at, then relayed to its session.
//
//	bearer ─▶ origin ─▶ method ─▶ body ─▶ session ─▶ JSON or event stream
//
// cmd/fjmcp-broker makes it.
package gateway
