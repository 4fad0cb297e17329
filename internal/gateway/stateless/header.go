package stateless

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

// checkVersionHeader holds MCP-Protocol-Version against the version in a request's
// _meta. Errors are for the client, with CodeHeaderMismatch.
func checkVersionHeader(h http.Header, version string) error {
	return checkHeader(h, mcp.HeaderProtocolVersion, version, false)
}

// checkHeaders holds the other headers that mirror every request of 2026-07-28
// against its body (Streamable HTTP, Server Validation). Errors are for the
// client, with CodeHeaderMismatch.
func checkHeaders(h http.Header, m mcp.Message) error {
	if err := checkHeader(h, mcp.HeaderMethod, m.Method, false); err != nil || !mcp.Invokes(m.Method) {
		return err
	}
	return checkHeader(h, mcp.HeaderName, named(m), true)
}

func checkHeader(h http.Header, name, body string, coded bool) error {
	value, err := headerValue(h, name, coded)
	if err == nil && value != body {
		err = fmt.Errorf("header mismatch: %s is not what the body says", name)
	}
	return err
}

// named is what a request's Mcp-Name repeats.
func named(m mcp.Message) string {
	if m.Method == mcp.MethodResourcesRead {
		return m.ParamString("uri")
	}
	return m.ParamString("name")
}

var errAbsent = errors.New("is missing")

// headerValue reads a header that must stand just once. Only one that may be coded
// may be empty.
func headerValue(h http.Header, name string, coded bool) (string, error) {
	values := h.Values(name)
	if len(values) == 0 || values[0] == "" && !coded {
		return "", fmt.Errorf("header mismatch: %s %w", name, errAbsent)
	}
	if len(values) > 1 {
		return "", fmt.Errorf("header mismatch: %s stands twice", name)
	}
	for _, c := range []byte(values[0]) {
		if c != '\t' && (c < ' ' || c > '~') {
			return "", fmt.Errorf("header mismatch: %s contains invalid characters", name)
		}
	}
	if !coded {
		return values[0], nil
	}
	value, ok := decodeHeader(values[0])
	if !ok {
		return "", fmt.Errorf("header mismatch: %s is not valid Base64", name)
	}
	return value, nil
}

// decodeHeader undoes =?base64?…?= (Streamable HTTP, Value Encoding).
func decodeHeader(value string) (string, bool) {
	coded, ok := strings.CutPrefix(value, "=?base64?")
	if !ok {
		return value, true
	}
	if coded, ok = strings.CutSuffix(coded, "?="); !ok {
		return value, true
	}
	plain, err := base64.StdEncoding.Strict().DecodeString(coded)
	return string(plain), err == nil && utf8.Valid(plain)
}
