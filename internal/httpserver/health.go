package httpserver

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"
)

// Check is one part whose health is reported under Name.
type Check struct {
	Name string
	Run  func(context.Context) error
}

// Health answers GET /healthz: 200 {"status":"ok","store":"ok",…} or 503 with
// "failing" for each part that fails. Why stands in the log only.
func Health(log *slog.Logger, checks ...Check) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		defer cancel()
		body, status := map[string]string{"status": "ok"}, http.StatusOK
		for _, c := range checks {
			body[c.Name] = "ok"
			if err := c.Run(ctx); err != nil {
				log.Error("health check failed", "part", c.Name, "error", err)
				body[c.Name], body["status"], status = "failing", "failing", http.StatusServiceUnavailable
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	})
}
