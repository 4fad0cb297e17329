// Package session owns the lifecycle of MCP sessions: having a unit started for
// one, letting it go dormant when systemd reaps the unit, going on with it in its
// unit when the broker is another process (restore.go), and waking it on the next
// request. Package fleet has the units and their limits; what the many clients of a
// shared session hear beside their calls is the affair of package notices.
//
//	            Create                 reaped, evicted, unit lost
//	(nothing) ─────────▶ running ───────────────────────────▶ dormant
//	                        ▲          next request                │
//	                        └──────────────────────────────────────┘
//	running, dormant ── DELETE, revocation, maximum age ──▶ ended (404)
//
// Packages gateway, streamable and call and the admin socket use it;
// cmd/fjmcp-broker makes it.
package session
