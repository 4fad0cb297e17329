package stateless

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/session"
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

// headerParam is an argument of a tool that clients repeat in a header.
type headerParam struct {
	Header string   // such as Mcp-headerParam-Region
	Path   []string // of the argument, below params.arguments
}

// paramAnnotation is what marks such an argument in a tool's inputSchema.
const paramAnnotation = "x-mcp-header"

// headerParams reads the annotations in a result of tools/list, by tool. A tool
// with an invalid one, which clients must not offer, has none (2026-07-28, toolParams,
// x-mcp-header).
func headerParams(result json.RawMessage) map[string][]headerParam {
	found := map[string][]headerParam{}
	if !bytes.Contains(result, []byte(paramAnnotation)) {
		return found
	}
	var list struct {
		Tools []struct {
			Name        string
			InputSchema any
		}
	}
	if json.Unmarshal(result, &list) != nil {
		return found
	}
	for _, tool := range list.Tools {
		var c collector
		c.schema(tool.InputSchema, nil, true)
		if !c.invalid && len(c.found) > 0 {
			found[tool.Name] = c.found
		}
	}
	return found
}

// collector walks one inputSchema.
type collector struct {
	found   []headerParam
	invalid bool
}

// schema takes a schema at path. It is reached when only properties lead there
// from the root.
func (c *collector) schema(schema any, path []string, reached bool) {
	switch schema := schema.(type) {
	case map[string]any:
		if name, annotated := schema[paramAnnotation]; annotated {
			c.annotated(schema, name, path, reached)
		}
		for keyword, value := range schema {
			c.keyword(keyword, value, path, reached)
		}
	case []any:
		for _, one := range schema {
			c.schema(one, path, false)
		}
	}
}

func (c *collector) keyword(keyword string, value any, path []string, reached bool) {
	switch keyword {
	case paramAnnotation, "default", "const", "enum", "examples": // no schemas
	case "properties":
		properties, _ := value.(map[string]any)
		for name, schema := range properties {
			c.schema(schema, append(slices.Clip(path), name), reached)
		}
	default:
		c.schema(value, path, false)
	}
}

func (c *collector) annotated(schema map[string]any, name any, path []string, reached bool) {
	header, _ := name.(string)
	header = http.CanonicalHeaderKey(mcp.HeaderParamPrefix + header)
	kind, _ := schema["type"].(string)
	valid := reached && len(path) > 0 && isToken(strings.TrimPrefix(header, mcp.HeaderParamPrefix)) &&
		slices.Contains([]string{"string", "integer", "boolean"}, kind) &&
		!slices.ContainsFunc(c.found, func(o headerParam) bool { return strings.EqualFold(o.Header, header) })
	c.invalid = c.invalid || !valid
	c.found = append(c.found, headerParam{header, path})
}

// isToken reports whether s is a token (RFC 9110 §5.6.2).
func isToken(s string) bool {
	return s != "" && strings.Trim(s, "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == ""
}

// checkParamHeaders holds the headers of a tools/call against its arguments.
// Errors are for the client, with CodeHeaderMismatch.
func checkParamHeaders(h http.Header, m mcp.Message, want []headerParam) error {
	for _, p := range want {
		argument := m.Param(append([]string{"arguments"}, p.Path...)...)
		given := argument != nil && string(argument) != "null"
		value, err := headerValue(h, p.Header, true)
		switch {
		case !given && errors.Is(err, errAbsent):
			continue
		case !given:
			return fmt.Errorf("header mismatch: %s stands for an argument that is not there", p.Header)
		case err != nil:
			return err
		case !sameValue(value, argument):
			return fmt.Errorf("header mismatch: %s is not what the body says", p.Header)
		}
	}
	return nil
}

// sameValue compares a header with an argument: numbers as numbers.
func sameValue(header string, argument json.RawMessage) bool {
	var value any
	if json.Unmarshal(argument, &value) != nil {
		return false
	}
	switch value := value.(type) {
	case string:
		return header == value
	case bool:
		return header == strconv.FormatBool(value)
	case float64:
		var number *float64
		err := json.Unmarshal([]byte(header), &number)
		return err == nil && number != nil && *number == value && value == math.Trunc(value) && math.Abs(value) < 1<<53
	}
	return false
}

// toolParams remembers which arguments clients repeat in headers, by each session's
// last tools/list. The zero value is empty.
type toolParams struct {
	mu sync.Mutex
	by map[*session.Session]map[string][]headerParam
}

// Of returns what the headers of a request have to repeat.
func (t *toolParams) Of(s *session.Session, m mcp.Message) []headerParam {
	if m.Method != mcp.MethodToolsCall {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.by[s][m.ParamString("name")]
}

// Remember takes the result of a tools/list: instead of what was, unless it is a
// further page of the same list. It is forgotten when done is closed, with the session.
func (t *toolParams) Remember(s *session.Session, done <-chan struct{}, list mcp.Message, result json.RawMessage) {
	found := headerParams(result)
	t.mu.Lock()
	defer t.mu.Unlock()
	known, ok := t.by[s]
	switch {
	case !ok && len(found) == 0: // no tool of most backends has any
		return
	case !ok:
		if t.by == nil {
			t.by = map[*session.Session]map[string][]headerParam{}
		}
		go t.forget(s, done)
	case list.Param("cursor") != nil: // what was read before is not changed, since others read it
		all := maps.Clone(known)
		maps.Copy(all, found)
		found = all
	}
	t.by[s] = found
}

func (t *toolParams) forget(s *session.Session, done <-chan struct{}) {
	<-done
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.by, s)
}
