// Package warm starts units ahead of the sessions they are for. When a client has
// logged in, its first session is seconds away at most; a unit that waits for it
// answers initialize as fast as the backend does.
//
//	Start ──▶ Claim ──▶ Take ──▶ Bind: the session's
//	   └── a minute over, login ended, broker ending: stopped
//
// A unit waits uninitialized, so that its backend's first answer is to what the
// client says. What it is known by, the id of the session to come, is made with it:
// the unit's journal names that session. The limits on running units do not count
// it, and whatever fails here leaves no more than a line in the log: the session then
// starts as it would have.
//
// Package fleet imports it.
package warm
