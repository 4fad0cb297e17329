package mcp

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Keys of _meta (2026-07-28, Overview, General fields).
const (
	MetaProtocolVersion    = "io.modelcontextprotocol/protocolVersion"
	MetaClientInfo         = "io.modelcontextprotocol/clientInfo"
	MetaClientCapabilities = "io.modelcontextprotocol/clientCapabilities"
	MetaLogLevel           = "io.modelcontextprotocol/logLevel"
	MetaServerInfo         = "io.modelcontextprotocol/serverInfo"
	MetaSubscriptionID     = "io.modelcontextprotocol/subscriptionId"
)

// Meta is what a request of 2026-07-28 says in params._meta about its client.
type Meta struct {
	Version      string
	Capabilities ClientCapabilities
	LogLevel     string // "" when the client wants no log messages
}

// ClientCapabilities are those that decide what a client may be asked
// (2026-07-28, schema ClientCapabilities). The JSON of a value lists only those it
// has.
type ClientCapabilities struct {
	Roots       *struct{}    `json:"roots,omitempty"`
	Sampling    *Sampling    `json:"sampling,omitempty"`
	Elicitation *Elicitation `json:"elicitation,omitempty"`
}

// Sampling is what a client can do for sampling/createMessage.
type Sampling struct {
	Context *struct{} `json:"context,omitempty"`
	Tools   *struct{} `json:"tools,omitempty"`
}

// Elicitation is what a client can do for elicitation/create. Neither means Form.
type Elicitation struct {
	Form *struct{} `json:"form,omitempty"`
	URL  *struct{} `json:"url,omitempty"`
}

// ReadMeta reads the _meta of a request, apart from its version, which the
// caller has read to get here. Errors are for the client, with CodeInvalidParams.
func ReadMeta(m Message) (Meta, error) {
	meta := Meta{Version: m.ParamString("_meta", MetaProtocolVersion)}
	if meta.Version == "" {
		return Meta{}, missing(MetaProtocolVersion)
	}
	capabilities := m.Param("_meta", MetaClientCapabilities)
	if len(capabilities) == 0 || capabilities[0] != '{' || json.Unmarshal(capabilities, &meta.Capabilities) != nil {
		return Meta{}, missing(MetaClientCapabilities)
	}
	if info := m.Param("_meta", MetaClientInfo); info != nil && info[0] != '{' {
		return Meta{}, missing(MetaClientInfo)
	}
	if level := m.Param("_meta", MetaLogLevel); level != nil {
		meta.LogLevel = text(level)
		if !slices.Contains(levels, meta.LogLevel) {
			return Meta{}, fmt.Errorf("_meta member %q is not a log level", MetaLogLevel)
		}
	}
	return meta, nil
}

func missing(name string) error { return fmt.Errorf("_meta member %q is missing or malformed", name) }

// levels of log messages, the least severe first (RFC 5424).
var levels = []string{"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}

// Severe reports whether a log level is at least as severe as from. What is no
// level is severe.
func Severe(level, from string) bool {
	i := slices.Index(levels, level)
	return i < 0 || i >= slices.Index(levels, from)
}
