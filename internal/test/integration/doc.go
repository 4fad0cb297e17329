// Package integration holds no code: its tests run the built programs as an
// operator without systemd would (process launcher, SQLite, a fake forge on
// loopback) and use them with the official Go SDK's client. The backend is the
// stand-in, the Go SDK's everything-server, or with $FJMCP_TEST_FORGEJO_MCP the
// real forgejo-mcp.
package integration
