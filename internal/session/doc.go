// Package session has the MCP sessions of all users: it has a unit started for each,
// lets it go dormant when systemd reaps the unit, continues with it in its unit when
// the broker is another process (restore.go), and wakes it on the next request. At
// stake: a session, its unit and its user's token belong to one login alone, and no
// call is lost or done twice without the client being told.
//
//	            Create                 reaped, evicted, unit lost
//	(nothing) ─────────▶ running ───────────────────────────▶ dormant
//	                        ▲          next request                │
//	                        └──────────────────────────────────────┘
//	running, dormant ── DELETE, revocation, maximum age ──▶ ended (404)
//
// # The pool of units
//
//	enter (drain.go) ──▶ start: token, a unit started ahead or a place and a launch, first words
//	                 ──▶ serve: may be stopped for another from now on ──▶ unitEnded
//
// A unit that starts has its place before it is launched, so that its credential is
// found when PID 1 asks. Where all places are taken, the longest idle unit that serves
// a session is stopped. During a drain none is started, nor after Shutdown. A
// backend that dies again and again is not started again at once (package startup).
//
// # Pre-start
//
//	Start ──▶ Claim ──▶ Await ──▶ Bind: the session's
//	   └── a minute over, login ended, broker ending: stopped
//
// When a client has logged in, its first session is seconds away at most; a unit that
// waits for it answers initialize as fast as the backend does. It waits uninitialized,
// so that its backend's first answer is to what the client says. The id of the session
// to come is made with it: the unit's journal names that session. The limits on running
// units do not count it, and whatever fails leaves no more than a line in the log: the
// session then starts as it would have.
//
// # Notices
//
// In a shared session nobody knows for whom a backend logs or tells of changes. It logs
// from the lowest level that any request has asked for, and what it tells goes to those
// who have subscribed (notices.go).
package session
