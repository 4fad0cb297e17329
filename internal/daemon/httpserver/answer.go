package httpserver

import (
	"encoding/json"
	"net/http"
	"net/textproto"
	"strings"
)

// AllowOrigin lets pages of origin read the answer to r, and tells their preflight which
// methods and request headers they may send, for maxAge in seconds. `*` would not cover
// the Authorization header, so the headers are named (Fetch standard, "CORS
// non-wildcard request-header name").
func AllowOrigin(w http.ResponseWriter, r *http.Request, origin, methods, maxAge string) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", "Mcp-Session-Id, WWW-Authenticate, Retry-After")
	if r.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Methods", methods)
		h.Set("Access-Control-Allow-Headers", allowedHeaders(r))
		h.Set("Access-Control-Max-Age", maxAge)
	}
}

// allowedHeaders is what MCP clients send, and of the family Mcp-Param-* what r asks
// for, since only whole names can be allowed.
func allowedHeaders(r *http.Request) string {
	list := "Authorization, Content-Type, Accept, Last-Event-ID, Mcp-Session-Id, MCP-Protocol-Version, Mcp-Method, Mcp-Name, X-MCP-Toolsets, X-MCP-Readonly"
	for name := range strings.SplitSeq(r.Header.Get("Access-Control-Request-Headers"), ",") {
		name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))
		if strings.HasPrefix(name, "Mcp-Param-") && len(list) < 4096 {
			list += ", " + name
		}
	}
	return list
}

// CORS opens an endpoint that uses no cookies to pages of any origin, answers
// their preflight, and refuses methods other than the given one. GET includes
// HEAD.
func CORS(h http.HandlerFunc, method string) http.Handler {
	allow := method + ", OPTIONS"
	if method == http.MethodGet {
		allow = "GET, HEAD, OPTIONS"
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		AllowOrigin(w, r, "*", allow, "86400")
		switch {
		case r.Method == http.MethodOptions:
			w.WriteHeader(http.StatusNoContent)
		case r.Method == method, method == http.MethodGet && r.Method == http.MethodHead:
			h(w, r)
		default:
			w.Header().Set("Allow", allow)
			WriteJSON(w, http.StatusMethodNotAllowed, map[string]string{"error": "invalid_request", "error_description": "use " + method})
		}
	})
}

// singletons are the headers that are read here and have one value at most. A proxy in
// front may have gone by another one of several.
var singletons = []string{"Authorization", "Content-Type", "Last-Event-Id", "Mcp-Protocol-Version", "Mcp-Session-Id", "Origin", "X-Mcp-Readonly"}

// ErrRepeated: a header that has one value at most stands more than once (RFC 9110 §5.3).
type ErrRepeated string

func (e ErrRepeated) Error() string { return "the " + string(e) + " header stands more than once" }

// CheckHeaders returns ErrRepeated if one of r's headers is. Host and Content-Length are
// net/http's to refuse.
func CheckHeaders(r *http.Request) error {
	for _, name := range singletons {
		if len(r.Header[name]) > 1 {
			return ErrRepeated(name)
		}
	}
	return nil
}

// WriteJSON sends v and keeps it out of every cache: most answers hold secrets,
// and the rest change with the configuration.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // fails only when the client has gone
}
