// Package conformance holds the broker against the MCP conformance suite, the npm
// package @modelcontextprotocol/conformance. The backend is the Go SDK's
// everything-server on stdio; what that server passes when it serves HTTP itself is
// what the broker has to pass, but for the exceptions that docs/conformance.md
// names. `make conformance` prints the table.
//
// The suite runs against a URL and can send no token, so that a proxy which adds one
// stands in front of the broker.
package conformance
