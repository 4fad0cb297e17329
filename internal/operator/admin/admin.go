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
	mux.HandleFunc("GET /status", h.status)
	mux.HandleFunc("GET /sessions", h.listSessions)
	mux.HandleFunc("GET /sessions/{id}", h.showSession)
	mux.HandleFunc("POST /sessions/stop", h.stopSessions)
	mux.HandleFunc("POST /drain", h.drain)
	mux.HandleFunc("DELETE /drain", h.undrain)
	mux.HandleFunc("POST /key/rotate", h.rotateKey)
	mux.HandleFunc("POST /clients", h.addClient)
	mux.HandleFunc("GET /clients", h.listClients)
	mux.HandleFunc("DELETE /clients", h.removeClient)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(w, r.WithContext(audit.By(r.Context(), r.RemoteAddr)))
	})
}

// Error is a fault that the operator can mend.
type Error struct {
	Text     string
	NotFound bool
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

// answer sends a value, what the operator can mend, or where to look.
func (h *handler) answer(w http.ResponseWriter, what string, v any, err error) {
	var fault *Error
	switch {
	case errors.As(err, &fault) && fault.NotFound:
		fail(w, http.StatusNotFound, fault.Text)
	case errors.As(err, &fault):
		fail(w, http.StatusBadRequest, fault.Text)
	case err != nil:
		h.cfg.Log.Error("cannot "+what, "error", err)
		fail(w, http.StatusInternalServerError, "cannot "+what+"; see the journal of fjmcp-broker")
	default:
		send(w, http.StatusOK, v)
	}
}

// failure is the body of every answer but 200.
type failure struct {
	Error string `json:"error"`
}

func fail(w http.ResponseWriter, status int, text string) { send(w, status, failure{text}) }

func send(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // fails only when the caller has gone
}

const maxBody = 1 << 20 // bytes

func read(w http.ResponseWriter, r *http.Request, v any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		fail(w, http.StatusBadRequest, "the request cannot be read; are fjmcpctl and fjmcp-broker of one version?")
		return false
	}
	return true
}
