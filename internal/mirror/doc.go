// Package mirror holds the HTTP headers that repeat parts of a request of revision
// 2026-07-28 against the request (Streamable HTTP, Request Metadata): version,
// method, name, and the arguments that a tool's schema marks.
//
// Package stateless imports it; it imports package mcp alone.
package mirror
