// Package httpsse is the HTTP+SSE transport of revision 2024-11-05: a client opens
// an event stream at GET, is told there where to post its messages, and gets all
// answers on the stream.
//
//	GET /sse ─▶ event: endpoint   /messages?sessionId=<stream>
//	POST initialize ─▶ 202        the session begins
//	         event: message       the response
//	POST tools/call ─▶ 202 …
//
// A stream's id stands in URLs, and the session's is made of it. It is called with
// authenticated requests only.
package httpsse
