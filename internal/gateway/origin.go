package gateway

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/localhost"
)

// cors answers browser clients of allowed origins.
func (h *Handler) cors(w http.ResponseWriter, r *http.Request) {
	w.Header().Add("Vary", "Origin")
	if origin := r.Header.Get("Origin"); origin != "" && h.originAllowed(origin) {
		if r.Method == http.MethodOptions {
			w.Header().Add("Vary", "Access-Control-Request-Headers")
		}
		httpserver.AllowOrigin(w, r, origin, "GET, POST, DELETE", "7200")
	}
}

// originAllowed guards against DNS rebinding (Streamable HTTP, Security
// Warning): no Origin, our own, a configured one, or a page served from loopback.
func (h *Handler) originAllowed(origin string) bool {
	return origin == "" || slices.Contains(h.origins, origin) || loopbackOrigin(origin)
}

func loopbackOrigin(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Scheme+"://"+u.Host == origin && localhost.Loopback(u.Hostname())
}
