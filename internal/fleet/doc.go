// Package fleet has the broker's running units: which there are, how many there may
// be, and how a session gets one.
//
//	Enter (door) ──▶ Start: token, warm unit or a place and a launch, first words
//	             ──▶ Serve: may be taken from now on ──▶ Remove
//
// A unit that starts has its place before it is launched, so that its credential is
// found when PID 1 asks. Where all places are taken, the longest idle unit that serves
// a session goes. The door is shut during a drain; Close ends all for good.
//
// What a session is, is the affair of its importer, package session: here it is a
// value beside the unit. One unit is that of package unit, one that was started ahead
// that of package warm.
package fleet
