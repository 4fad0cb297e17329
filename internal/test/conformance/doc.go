// Package conformance holds the broker against the MCP conformance suite, the npm
// package @modelcontextprotocol/conformance. The backend is the Go SDK's
// everything-server on stdio; what that server passes when it serves HTTP itself is
// what the broker has to pass, but for the exceptions that docs/conformance.md
// names. `make conformance` prints the table.
//
// Suite runs the suite's server scenarios against a URL. It can send no token, so
// Bearer stands in front of the broker. Compare, Exceptions and Judge say what differs
// and whether that is known.
package conformance
