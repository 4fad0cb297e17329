// Package unit runs one fjmcp-session unit from start to end: the launcher's call,
// its credential and the tokens after it, its mode, its reap timer, the backend's
// first answer (with package opening), what its proxy refuses (refusal), its last
// words, and its two sockets' way to the next process (sockets).
//
//	New ──▶ Launch ──▶ Initialize ──▶ Call, Notify, Respond … ──▶ gone
//	Adopt ──▶ Attend ──▶ Settle ──▶ …   in the next process ◀── Suspend
//
// It knows nothing of limits, of stored sessions, or of what came before it:
// package session has package fleet start another when one is gone.
package unit
