// Package relay multiplexes many MCP clients' calls over one stdio child.
//
//	client ids ──▶ our ids ──▶ one line each ──▶ child
//	       ◀── the call's own stream ◀── answer, progress, questions ◀──
//
// Messages pass as bytes; only ids, progress tokens, subscription ids and the
// request id of a cancellation are replaced. What the child says belongs to a call
// when it names the call (answer, progress, subscription) or when just one call is
// in flight; a child that asks questions gets one call at a time (ADR 33).
//
// A Relay can be suspended and continue in another process (ADR 34).
//
// At stake: an answer that reaches another client than the one that asked, and a call
// that is lost or done twice.
//
// Functions whose names end in Locked are called with the Relay's mutex held.
package relay
