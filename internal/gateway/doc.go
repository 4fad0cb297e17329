// Package gateway is the front of the MCP resource server: every request is
// authenticated by its bearer token before anything else is looked at, then
// handed to the transport it speaks.
//
//	bearer ─▶ origin ─▶ path, method ─▶ body ─▶ streamable (a session's)
//	                                          ├▶ stateless (nobody's)
//	                                          └▶ httpsse
package gateway
