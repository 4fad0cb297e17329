// Package operator is what an operator sees of a running broker, and does to it: the
// look at all of its parts, the sessions and their calls in flight, the end of
// sessions, the drain before maintenance, and the clients that cannot register
// themselves.
package operator
