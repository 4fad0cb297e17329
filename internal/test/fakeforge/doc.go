// Package fakeforge is a faithful fake Forgejo: OAuth provider, login and consent
// pages and as much of the API as tests call, all in memory.
//
// It keeps to what Forgejo does where that differs from the RFCs: grants keyed
// by (user, application) whose first scope wins, one refresh counter per grant,
// tokens that are deterministic per second, 400 for every OAuth error, HTML with
// status 200 for a suspended user, full access for an empty or misspelt scope.
// Profile holds what differs between versions.
//
// A forge is steered by the methods of Forge. It shares no code with the product, so
// that it shares none of its faults.
package fakeforge
