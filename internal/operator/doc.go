// Package operator is what an operator sees of a running broker, and does to it: the
// look at all of its parts, the sessions and their calls in flight, the end of
// sessions, and the drain before maintenance. It stands behind package admin, whose
// words it uses.
package operator
