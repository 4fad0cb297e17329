package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"
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

// Session is one session as the operator sees it.
type Session struct {
	ID       string    `json:"id"` // FJMCP_SESSION in the journal
	User     string    `json:"user"`
	Client   string    `json:"client"`
	Kind     string    `json:"kind"`  // client or shared
	State    string    `json:"state"` // running or dormant
	Unit     string    `json:"unit,omitempty"`
	Protocol string    `json:"protocol"`
	ReadOnly bool      `json:"read_only"`
	Created  time.Time `json:"created"`
	LastUsed time.Time `json:"last_used"`
	InFlight int       `json:"in_flight"`
}

// Config says what stands behind the admin socket. All fields are required.
type Config struct {
	Sessions func(context.Context) ([]Session, error)
	Clients  Clients
	// RotateKey seals everything with the current key.
	RotateKey func(context.Context) (Rotation, error)
	Log       *slog.Logger
}

type handler struct{ cfg Config }

// Handler serves the admin socket.
func Handler(cfg Config) http.Handler {
	h := &handler{cfg}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sessions", func(w http.ResponseWriter, r *http.Request) {
		list, err := cfg.Sessions(r.Context())
		h.answer(w, "list sessions", list, err)
	})
	mux.HandleFunc("POST /key/rotate", h.rotateKey)
	mux.HandleFunc("POST /clients", h.addClient)
	mux.HandleFunc("GET /clients", h.listClients)
	mux.HandleFunc("DELETE /clients", h.removeClient)
	return mux
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
		http.Error(w, fault.Text, http.StatusNotFound)
	case errors.As(err, &fault):
		http.Error(w, fault.Text, http.StatusBadRequest)
	case err != nil:
		h.cfg.Log.Error("cannot "+what, "error", err)
		http.Error(w, "cannot "+what+"; see the journal of fjmcp-broker", http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // fails only when the caller has gone
	}
}

const maxBody = 1 << 20 // bytes

func read(w http.ResponseWriter, r *http.Request, v any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		http.Error(w, "the request cannot be read; are fjmcpctl and fjmcp-broker of one version?", http.StatusBadRequest)
		return false
	}
	return true
}

// Caller calls the admin socket. Its errors say what the operator can do.
type Caller struct{ http http.Client }

// NewCaller returns a caller of the socket at path.
func NewCaller(path string) *Caller {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	return &Caller{http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: 30 * time.Second}}
}

// Sessions lists all sessions.
func (c *Caller) Sessions(ctx context.Context) (list []Session, err error) {
	err = c.call(ctx, http.MethodGet, "/sessions", nil, &list)
	return list, err
}

// call sends in, if any, as JSON and reads the answer into out, if any.
func (c *Caller) call(ctx context.Context, method, path string, in, out any) error {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://fjmcp"+path, &body)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return explain(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refusal(resp)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("cannot read the broker's answer: %w", err)
	}
	return nil
}

// refusal passes on what the operator can mend as it is.
func refusal(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4000)) // what came is shown
	shown := strings.TrimSpace(string(text))
	if resp.StatusCode == http.StatusBadRequest || resp.StatusCode == http.StatusNotFound && shown != "404 page not found" {
		return errors.New(shown)
	}
	return fmt.Errorf("the broker answered %s: %s", resp.Status, shown)
}

func explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w\nhint: run as root, or join group fjmcp", err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w\nhint: is the broker enabled? systemctl enable --now fjmcp-broker.socket", err)
	}
	return err
}
