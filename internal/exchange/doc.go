// Package exchange carries one request of a client through a session: its
// deadline, what it yields, how it ends, its line in the audit, and the words in
// which a failure is told. The transports (packages streamable, era and httpsse)
// frame what it gives them. Package gateway makes it.
package exchange
