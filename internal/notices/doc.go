// Package notices has the backend of a session that many clients share say what any
// of them wants to hear beside its calls: its log, from the lowest level that one has
// asked for, and the changes that they have subscribed to (package subscription).
//
// A Notices belongs to one session and outlives the units it runs in: each new one is
// told what the last one was. Package session makes it.
package notices
