package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
)

// DefaultSocket is where the package's fjmcp-admin.socket listens.
const DefaultSocket = "/run/fjmcp/admin.sock"

// Listen opens an admin socket of the broker's own, for its user and root only,
// replacing one that a broker left behind.
func Listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot open the admin socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("cannot open the admin socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("cannot open the admin socket: %w", err)
	}
	return l, nil
}

// Config says what stands behind the admin socket. All fields are required.
type Config struct {
	Sessions Sessions
	Clients  Clients
	Status   func(context.Context) Status
	// RotateKey seals everything with the current key.
	RotateKey func(context.Context) (Rotation, error)
	Log       *slog.Logger
}

type handler struct{ cfg Config }

// Handler serves the admin socket, on listeners of Peers: what a request causes is
// audited under the name of the peer.
func Handler(cfg Config) http.Handler {
	h := &handler{cfg}
	mux := http.NewServeMux()
	for pattern, e := range map[string]endpoint{
		"GET /status":         {"tell the status", h.status},
		"GET /sessions":       {"list sessions", h.listSessions},
		"GET /sessions/{id}":  {"show the session", h.showSession},
		"POST /sessions/stop": {"stop sessions", h.stopSessions},
		"POST /drain":         {"drain", h.drain},
		"DELETE /drain":       {"undrain", h.undrain},
		"POST /key/rotate":    {"rotate the key", h.rotateKey},
		"POST /clients":       {"add the client", h.addClient},
		"GET /clients":        {"list clients", h.listClients},
		"DELETE /clients":     {"remove the client", h.removeClient},
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { h.serve(w, r, e) })
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(w, r.WithContext(audit.By(r.Context(), r.RemoteAddr)))
	})
}

// endpoint says what is done by one kind of request, and does it.
type endpoint struct {
	what string
	do   func(*http.Request) (any, error)
}

// Error is a fault that the operator can mend.
type Error struct {
	Text     string
	NotFound bool
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

// serve sends a value, what the operator can mend, or where to look.
func (h *handler) serve(w http.ResponseWriter, r *http.Request, e endpoint) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	v, err := e.do(r)
	status := http.StatusOK
	var fault *Error
	switch {
	case errors.As(err, &fault) && fault.NotFound:
		status, v = http.StatusNotFound, failure{fault.Text}
	case errors.As(err, &fault):
		status, v = http.StatusBadRequest, failure{fault.Text}
	case err != nil:
		h.cfg.Log.Error("cannot "+e.what, "error", err)
		status, v = http.StatusInternalServerError, failure{"cannot " + e.what + "; see the journal of fjmcp-broker"}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // fails only when the caller has gone
}

// failure is the body of every answer but 200.
type failure struct {
	Error string `json:"error"`
}

const maxBody = 1 << 20 // bytes

func read(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if d.Decode(v) != nil {
		return &Error{Text: "the request cannot be read; are fjmcpctl and fjmcp-broker of one version?"}
	}
	return nil
}
