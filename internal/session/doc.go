// Package session owns the lifecycle of MCP sessions: starting a unit for one,
// keeping it awake while it is used, handing it fresh tokens, letting it go
// dormant when systemd reaps it, and waking it on the next request.
//
//	            Create                 reaped, evicted, broker restarted
//	(nothing) ─────────▶ running ───────────────────────────▶ dormant
//	                        ▲          next request                │
//	                        └──────────────────────────────────────┘
//	running, dormant ── DELETE, revocation, maximum age ──▶ ended (404)
//
// Package gateway and the admin socket use it; cmd/fjmcp-broker makes it.
package session
