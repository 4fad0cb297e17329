// Package mcp holds the words of the Model Context Protocol that a relay needs:
// the JSON-RPC envelope, error codes, protocol revisions and the framing of
// server-sent events.
//
// Messages stay raw bytes. Parse finds where the envelope's members stand and
// Message.WithID and its kin splice new values in, so that everything else
// (numbers, unknown members, white space) passes byte for byte.
package mcp
