// Package call carries one request of a client through a session: its deadline, what
// it yields, how it ends, its line in the audit, and the words in which a failure is
// told. The transports (packages streamable, stateless and httpsse) frame what it
// gives them.
package call
