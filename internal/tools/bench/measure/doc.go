// Package measure measures the broker beside other ways to the same MCP server:
//
//	        ┌─ fjmcp-broker ── fjmcp-session ─ child    OAuth, a child a session
//	client ─┼─ pipes ─────────────────────── child      plain stdio
//	        ├─ supergateway ──────────────── child      npm, a child a session
//	        └─ any Streamable HTTP server               given by its URL
//
// All are spoken to by the same small client. They are measured in turn, a slice
// of time each, round after round, so that whatever else the machine does hits
// all alike; what counts are the ratios within one run. docs/benchmarks.md says
// how to run it and what came out.
package measure
