// Package cmd is a faithful fake Forgejo: OAuth provider, login and
// consent pages and as much of the API as forgejo-mcp's everyday tools need,
// all in memory. Tests, `make run` and the demo stand on it.
//
// It keeps to what Forgejo does where that differs from the RFCs: grants keyed
// by (user, application) whose first scope wins, one refresh counter per grant,
// tokens that are deterministic per second, 400 for every OAuth error, HTML with
// status 200 for a suspended user, full access for an empty or misspelt scope.
// Profile holds what differs between versions.
//
// A forge is steered by the methods of Forge, or from another process through the
// handler that Control returns. It shares no code with the product, so that it shares
// none of its faults.
package fakeforge
