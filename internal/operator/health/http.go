package health

import (
	"net/http"
	"slices"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
)

// Routes registers what monitoring asks, without a login:
//
//	/livez   200 {"status":"ok"}: the process serves
//	/readyz  200 {"status":"ok","store":"ok",…}, or 503 with "failing" for what fails
//	/healthz what /readyz says
//
// The answers name checks and states alone: anybody may ask. They can be asked each
// second.
func (h *Health) Routes(mux *http.ServeMux) {
	mux.HandleFunc("GET "+pathLive, func(w http.ResponseWriter, _ *http.Request) {
		httpserver.WriteJSON(w, http.StatusOK, map[string]string{"status": word(false)})
	})
	mux.HandleFunc("GET "+pathReady, h.ready)
	mux.HandleFunc("GET "+pathHealth, h.ready)
}

const pathLive, pathReady, pathHealth = "/livez", "/readyz", "/healthz"

// Asks reports whether r is for one of Routes, whose JSON is for people as well.
func Asks(r *http.Request) bool {
	return slices.Contains([]string{pathLive, pathReady, pathHealth}, r.URL.Path)
}

func (h *Health) ready(w http.ResponseWriter, r *http.Request) {
	all := h.poll(r.Context())
	report, status := map[string]string{"status": word(Failed(all))}, http.StatusOK
	for _, result := range all {
		report[result.Name] = word(result.failed())
	}
	if Failed(all) {
		status = http.StatusServiceUnavailable
	}
	httpserver.WriteJSON(w, status, report)
}

func word(failed bool) string {
	if failed {
		return string(Failing)
	}
	return string(OK)
}
