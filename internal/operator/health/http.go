package health

import (
	"net/http"

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
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		httpserver.WriteJSON(w, http.StatusOK, map[string]string{"status": word(false)})
	})
	mux.HandleFunc("GET /readyz", h.ready)
	mux.HandleFunc("GET /healthz", h.ready)
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
