// Package subscription keeps who listens to what a backend of the handshake
// revisions says besides all calls, so that clients of 2026-07-28 can listen to it
// (Patterns, Subscriptions).
//
// A Set belongs to one session and outlives the units it runs in. It counts who
// listens to a resource and has the backend tell of it from the first listener to
// the last, also after the backend was replaced. What a slow listener has not
// taken yet waits once, however often it was said.
package subscription
