package httpserver

import (
	"net/http"
	"net/textproto"
	"strings"
)

// ExposedHeaders are the response headers that pages of other origins may read.
const ExposedHeaders = "Mcp-Session-Id, WWW-Authenticate, Retry-After"

// AllowedHeaders returns the request headers that pages of other origins may
// send, for a preflight: what MCP clients use, and of the family Mcp-Param-*
// those that r asks for, since only whole names can be allowed.
func AllowedHeaders(r *http.Request) string {
	list := "Authorization, Content-Type, Accept, Last-Event-ID, Mcp-Session-Id, MCP-Protocol-Version, Mcp-Method, Mcp-Name"
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
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Expose-Headers", ExposedHeaders)
		switch {
		case r.Method == http.MethodOptions:
			w.Header().Set("Access-Control-Allow-Methods", allow)
			w.Header().Set("Access-Control-Allow-Headers", AllowedHeaders(r))
			w.Header().Set("Access-Control-Max-Age", "86400")
			w.WriteHeader(http.StatusNoContent)
		case r.Method == method, method == http.MethodGet && r.Method == http.MethodHead:
			h(w, r)
		default:
			w.Header().Set("Allow", allow)
			WriteJSON(w, http.StatusMethodNotAllowed, map[string]string{"error": "invalid_request", "error_description": "use " + method})
		}
	})
}
