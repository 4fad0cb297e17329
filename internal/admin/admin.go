package admin

import (
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
	State    string    `json:"state"` // running or dormant
	Unit     string    `json:"unit,omitempty"`
	Protocol string    `json:"protocol"`
	Created  time.Time `json:"created"`
	LastUsed time.Time `json:"last_used"`
	InFlight int       `json:"in_flight"`
}

// Sessions lists all sessions.
type Sessions func(context.Context) ([]Session, error)

// Handler serves the admin socket.
func Handler(sessions Sessions, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sessions", func(w http.ResponseWriter, r *http.Request) {
		list, err := sessions(r.Context())
		if err != nil {
			log.Error("cannot list sessions", "error", err)
			http.Error(w, "cannot list sessions; see the journal of fjmcp-broker", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(list)
	})
	return mux
}

// Client calls the admin socket.
type Client struct{ http http.Client }

// NewClient returns a client of the socket at path.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	return &Client{http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: 30 * time.Second}}
}

// Sessions lists all sessions. Errors say what the operator can do.
func (c *Client) Sessions(ctx context.Context) ([]Session, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://fjmcp/sessions", nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, explain(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return nil, fmt.Errorf("the broker answered %s: %s", resp.Status, text)
	}
	var list []Session
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		return nil, fmt.Errorf("cannot read the broker's answer: %w", err)
	}
	return list, nil
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
