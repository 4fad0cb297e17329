// Command fakemcp is an MCP server on stdio that stands where forgejo-mcp would in
// tests: same flags, same way to the forge (REST below /api/v1, proxies and CA
// certificates from the environment, no token), a handful of its tools, and some of
// its own that misbehave or look around. Tests and make run build it.
//
// Like forgejo-mcp it asks for /api/v1/version once at start and exits with
// status 1 when that fails.
package main
