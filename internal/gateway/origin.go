package gateway

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
)

// cors answers browser clients of allowed origins. `*` would not cover the
// Authorization header (Fetch standard, "CORS non-wildcard request-header name").
func (h *Handler) cors(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" || !h.originAllowed(origin) {
		return
	}
	header.Set("Access-Control-Allow-Origin", origin)
	header.Set("Access-Control-Expose-Headers", httpserver.ExposedHeaders)
	if r.Method == http.MethodOptions {
		header.Add("Vary", "Access-Control-Request-Headers")
		header.Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
		header.Set("Access-Control-Allow-Headers", httpserver.AllowedHeaders(r))
		header.Set("Access-Control-Max-Age", "7200")
	}
}

// originAllowed guards against DNS rebinding (Streamable HTTP, Security
// Warning): no Origin, our own, a configured one, or a page served from loopback.
func (h *Handler) originAllowed(origin string) bool {
	return origin == "" || slices.Contains(h.origins, origin) || loopbackOrigin(origin)
}

func loopbackOrigin(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Scheme+"://"+u.Host != origin {
		return false
	}
	host := u.Hostname()
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.IsLoopback()
}
