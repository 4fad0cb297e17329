// Package relay multiplexes many MCP clients' calls over one stdio child.
//
//	client ids ──▶ our ids ──▶ one line each ──▶ child
//	       ◀── the call's own stream ◀── answer, progress, questions ◀──
//
// Messages pass as bytes; only ids, progress tokens and the request id of a
// cancellation are replaced. What the child says belongs to a call when it
// names the call (answer, progress) or when just one call is in flight.
//
// Package unit runs one; packages above it see its Call and errors.
package relay
