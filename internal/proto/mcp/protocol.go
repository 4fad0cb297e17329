// Package mcp holds the words of the Model Context Protocol that a relay needs:
// the JSON-RPC envelope, error codes, protocol revisions and the framing of
// server-sent events.
//
// Messages stay raw bytes. Parse finds where the envelope's members stand and
// Message.WithID and its kin splice new values in, so that everything else
// (numbers, unknown members, white space) passes byte for byte.
package mcp

import (
	"mime"
	"net/http"
	"slices"
	"strings"
)

// Revisions of the protocol with a handshake, oldest first.
const (
	Version20241105 = "2024-11-05"
	Version20250326 = "2025-03-26"
	Version20250618 = "2025-06-18"
	Version20251125 = "2025-11-25"
	// Version20260728 is the stateless revision. Clients of two generations
	// send it as a header also within a session of an older revision.
	Version20260728 = "2026-07-28"
)

// Supported lists the revisions that /mcp serves, newest first, as error data and
// server/discover give them.
var Supported = []string{Version20260728, Version20251125, Version20250618, Version20250326}

// Handshake reports whether v names a revision whose sessions begin with
// initialize.
func Handshake(v string) bool {
	return slices.Contains([]string{Version20241105, Version20250326, Version20250618, Version20251125}, v)
}

// Stateless reports whether v names a revision without sessions, or one that only a
// later broker knows; "" names none.
func Stateless(v string) bool { return v != "" && !Handshake(v) }

// KnownVersion reports whether v names a published revision.
func KnownVersion(v string) bool { return v == Version20260728 || Handshake(v) }

// Methods that have to be known by name.
const (
	MethodInitialize      = "initialize"
	MethodInitialized     = "notifications/initialized"
	MethodCancelled       = "notifications/cancelled"
	MethodProgress        = "notifications/progress"
	MethodLog             = "notifications/message"
	MethodPing            = "ping"
	MethodToolsCall       = "tools/call"
	MethodToolsList       = "tools/list"
	MethodPromptsGet      = "prompts/get"
	MethodPromptsList     = "prompts/list"
	MethodResourcesRead   = "resources/read"
	MethodResourcesList   = "resources/list"
	MethodTemplatesList   = "resources/templates/list"
	MethodComplete        = "completion/complete"
	MethodSetLoggingLevel = "logging/setLevel"
	MethodSubscribe       = "resources/subscribe"
	MethodUnsubscribe     = "resources/unsubscribe"

	// Of 2026-07-28.
	MethodDiscover     = "server/discover"
	MethodListen       = "subscriptions/listen"
	MethodAcknowledged = "notifications/subscriptions/acknowledged"

	// Of servers, to their clients.
	MethodSample = "sampling/createMessage"
	MethodElicit = "elicitation/create"
	MethodRoots  = "roots/list"

	MethodToolsChanged     = "notifications/tools/list_changed"
	MethodPromptsChanged   = "notifications/prompts/list_changed"
	MethodResourcesChanged = "notifications/resources/list_changed"
	MethodResourceUpdated  = "notifications/resources/updated"
)

// Header names of Streamable HTTP; HeaderMethod and the ones after it are of
// 2026-07-28.
const (
	HeaderSessionID       = "Mcp-Session-Id"
	HeaderProtocolVersion = "MCP-Protocol-Version"
	HeaderMethod          = "Mcp-Method"
	HeaderName            = "Mcp-Name"
	HeaderParamPrefix     = "Mcp-Param-"
)

// Headers by which a client says, with each request, how much of a server it wants to see.
// Other servers of forges have them too.
const (
	HeaderToolsets = "X-MCP-Toolsets" // names of toolsets, with commas between them
	HeaderReadOnly = "X-MCP-Readonly" // true or false
)

// MaxBody bounds a request, and all of a user at once, in bytes.
const MaxBody = 64 << 20

// Paths below the public URL.
const (
	PathStreamable = "/mcp"      // Streamable HTTP, and 2026-07-28
	PathSSE        = "/sse"      // HTTP+SSE (2024-11-05): the event stream
	PathMessages   = "/messages" // HTTP+SSE: what clients post
)

// Invokes reports whether a request of this method uses one tool, prompt or resource,
// which it names. Only while it answers these may a server ask its client something
// (2026-07-28, Multi Round-Trip Requests), and only these repeat the name in
// HeaderName (Streamable HTTP, Request Metadata).
func Invokes(method string) bool {
	return method == MethodToolsCall || method == MethodPromptsGet || method == MethodResourcesRead
}

// Media types of Streamable HTTP.
const (
	TypeJSON        = "application/json"
	TypeEventStream = "text/event-stream"
)

// Accepts reports whether the Accept header allows one of the media types, by name
// or by a wildcard. A request without the header allows all (RFC 9110 §12.5.1).
// Preferences are not looked at, but for a weight of 0.
func Accepts(h http.Header, types ...string) bool {
	accept := strings.Join(h.Values("Accept"), ",")
	if accept == "" {
		return true
	}
	for item := range strings.SplitSeq(accept, ",") {
		pattern, params, err := mime.ParseMediaType(item)
		if err != nil || weightless(params["q"]) {
			continue
		}
		for _, t := range types {
			kind, _, _ := strings.Cut(t, "/")
			if pattern == t || pattern == kind+"/*" || pattern == "*/*" {
				return true
			}
		}
	}
	return false
}

func weightless(q string) bool { return q != "" && strings.Trim(q, "0.") == "" }
