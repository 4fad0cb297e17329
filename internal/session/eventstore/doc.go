// Package eventstore keeps what a session's event streams have carried, so that a
// client whose connection broke can continue where it stopped (Streamable HTTP,
// Resumability and Redelivery).
//
// A Hub belongs to one session and holds its Logs: one for each POST that was
// answered with an event stream, one for the stream at GET. HTTP responses
// follow a Log; whoever fills it neither knows nor waits for them. Memory is
// bounded for the whole Hub.
package eventstore
