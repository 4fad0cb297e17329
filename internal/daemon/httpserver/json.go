package httpserver

import (
	"encoding/json"
	"net/http"
)

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
