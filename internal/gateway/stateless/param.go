package stateless

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

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
