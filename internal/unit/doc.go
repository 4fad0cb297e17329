// Package unit runs one fjmcp-session unit from start to end: its two sockets,
// the launcher's call, its credential and the tokens after it, its mode, its reap
// timer, the backend's first answer, and its last words.
//
//	New ──▶ Launch ──▶ Initialize ──▶ Call, Notify, Respond … ──▶ gone
//	Adopt ──▶ Attend ──▶ Settle ──▶ …   in the next process ◀── Suspend
//
// It knows nothing of limits, of stored sessions, or of what came before it:
// package session has package fleet start another when one is gone.
package unit
