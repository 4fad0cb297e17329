// Package admin is the operator's side door: HTTP and JSON over a unix socket
// that only root and group fjmcp may open, and the client fjmcpctl uses.
package admin

import (
	"cmp"
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
	"slices"
	"strconv"
	"time"

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

// Operator is what stands behind the admin socket. Errors that the operator can mend
// are *Error.
type Operator interface {
	Status(context.Context) Status
	List(context.Context) ([]Session, error)
	Show(ctx context.Context, id string) (Detail, error)
	// Stop ends sessions for good. The error is about all of them.
	Stop(ctx context.Context, ids []string) (Stopped, error)
	// Drain lets no further call begin, and returns when none is in flight or ctx
	// has ended.
	Drain(context.Context) (Drain, error)
	Undrain(context.Context)
	AddClient(ctx context.Context, n NewClient) (AddedClient, error)
	ListClients(ctx context.Context) ([]Client, error)
	RemoveClient(ctx context.Context, id string) error
	// who is a login name, or IDPrefix and the forge's number of a user.
	ListUsers(context.Context) ([]User, error)
	ShowUser(ctx context.Context, who string) (UserDetail, error)
	// RevokeUser ends all that a user has. BlockUser also keeps the user out.
	RevokeUser(ctx context.Context, who string) (UserEnded, error)
	BlockUser(ctx context.Context, who string) (UserEnded, error)
	UnblockUser(ctx context.Context, who string) (User, error)
	ListGrants(context.Context) ([]Grant, error)
	RevokeGrants(ctx context.Context, ids []string) (Revoked, error)
	// What is wrong with a policy is in the answer, not in the error.
	CheckPolicy(context.Context, PolicyText) (PolicyCheck, error)
	ReloadPolicy(context.Context) (PolicyLoad, error)
	ExplainPolicy(context.Context, PolicyQuestion) (PolicyAnswer, error)
	// Trial opens a path below the public URL, for one request.
	Trial(context.Context) (Trial, error)
	// Backup makes a backup (package archive) and writes it to what begin returns, which it
	// tells the size of.
	Backup(ctx context.Context, begin func(size int64) io.Writer) error
	// RotateKey seals everything with the current key.
	RotateKey(context.Context) (Rotation, error)
}

// idsRequest is the body of POST /sessions/stop and /grants/revoke.
type idsRequest struct {
	IDs []string `json:"ids"`
}

// userRequest is the body of POST /users/….
type userRequest struct {
	User string `json:"user"`
}

// drainRequest is the body of POST /drain.
type drainRequest struct {
	Wait time.Duration `json:"wait_ns"` // for calls in flight
}

// Handler serves the admin socket, on listeners of Peers: what a request causes is
// audited under the name of the peer.
func Handler(o Operator, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	for pattern, e := range map[string]endpoint{
		"GET /status": {"tell the status", func(r *http.Request) (any, error) { return o.Status(r.Context()), nil }},
		"GET /sessions": {"list sessions", func(r *http.Request) (any, error) {
			list, err := o.List(r.Context())
			slices.SortFunc(list, func(a, b Session) int {
				return cmp.Or(a.LastUsed.Compare(b.LastUsed), cmp.Compare(a.ID, b.ID))
			})
			return list, err
		}},
		"GET /sessions/{id}": {"show the session", func(r *http.Request) (any, error) { return o.Show(r.Context(), r.PathValue("id")) }},
		"POST /sessions/stop": {"stop sessions", reading(func(ctx context.Context, req idsRequest) (any, error) {
			return o.Stop(ctx, req.IDs)
		})},
		"POST /drain": {"drain", reading(func(ctx context.Context, req drainRequest) (any, error) {
			ctx, cancel := context.WithTimeout(ctx, req.Wait)
			defer cancel()
			return o.Drain(ctx)
		})},
		"DELETE /drain": {"undrain", func(r *http.Request) (any, error) {
			o.Undrain(r.Context())
			return struct{}{}, nil
		}},
		"POST /trial":      {"open a trial", func(r *http.Request) (any, error) { return o.Trial(r.Context()) }},
		"POST /key/rotate": {"rotate the key", func(r *http.Request) (any, error) { return o.RotateKey(r.Context()) }},
		"POST /clients": {"add the client", reading(func(ctx context.Context, n NewClient) (any, error) {
			return o.AddClient(ctx, n)
		})},
		"GET /clients": {"list clients", func(r *http.Request) (any, error) { return o.ListClients(r.Context()) }},
		"DELETE /clients": {"remove the client", func(r *http.Request) (any, error) {
			return struct{}{}, o.RemoveClient(r.Context(), r.URL.Query().Get("id"))
		}},
		"GET /users": {"list users", func(r *http.Request) (any, error) { return o.ListUsers(r.Context()) }},
		"POST /users/show": {"show the user", reading(func(ctx context.Context, req userRequest) (any, error) {
			return o.ShowUser(ctx, req.User)
		})},
		"POST /users/revoke": {"end what the user has", reading(func(ctx context.Context, req userRequest) (any, error) {
			return o.RevokeUser(ctx, req.User)
		})},
		"POST /users/block": {"block the user", reading(func(ctx context.Context, req userRequest) (any, error) {
			return o.BlockUser(ctx, req.User)
		})},
		"POST /users/unblock": {"unblock the user", reading(func(ctx context.Context, req userRequest) (any, error) {
			return o.UnblockUser(ctx, req.User)
		})},
		"GET /grants": {"list grants", func(r *http.Request) (any, error) { return o.ListGrants(r.Context()) }},
		"POST /grants/revoke": {"revoke grants", reading(func(ctx context.Context, req idsRequest) (any, error) {
			return o.RevokeGrants(ctx, req.IDs)
		})},
		"POST /policy/check": {"check the policy", reading(func(ctx context.Context, t PolicyText) (any, error) {
			return o.CheckPolicy(ctx, t)
		})},
		"POST /policy/reload": {"load the policy", func(r *http.Request) (any, error) { return o.ReloadPolicy(r.Context()) }},
		"POST /policy/explain": {"explain the policy", reading(func(ctx context.Context, q PolicyQuestion) (any, error) {
			return o.ExplainPolicy(ctx, q)
		})},
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { e.serve(w, r, log) })
	}
	mux.HandleFunc("POST /backup", func(w http.ResponseWriter, r *http.Request) { sendBackup(w, r, o, log) })
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
func (e endpoint) serve(w http.ResponseWriter, r *http.Request, log *slog.Logger) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	v, err := e.do(r)
	e.answer(w, v, err, log)
}

func (e endpoint) answer(w http.ResponseWriter, v any, err error, log *slog.Logger) {
	status := http.StatusOK
	var fault *Error
	switch {
	case errors.As(err, &fault) && fault.NotFound:
		status, v = http.StatusNotFound, failure{fault.Text}
	case errors.As(err, &fault):
		status, v = http.StatusBadRequest, failure{fault.Text}
	case err != nil:
		log.Error("cannot "+e.what, "error", err)
		status, v = http.StatusInternalServerError, failure{"cannot " + e.what + "; see the journal of fjmcp-broker"}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // fails only when the caller has gone
}

// sendBackup is the one answer that is not JSON. One that is cut off has fewer bytes than
// its Content-Length.
func sendBackup(w http.ResponseWriter, r *http.Request, o Operator, log *slog.Logger) {
	begun := false
	err := o.Backup(r.Context(), func(size int64) io.Writer {
		begun = true
		w.Header().Set("Content-Type", "application/x-tar")
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		return w
	})
	switch {
	case err != nil && begun:
		log.Warn("a backup was not sent to its end", "error", err)
	case err != nil:
		endpoint{what: "make a backup"}.answer(w, nil, err, log)
	}
}

// failure is the body of every answer but 200.
type failure struct {
	Error string `json:"error"`
}

const maxBody = 8 << 20 // bytes; a policy of 1 MiB as JSON has up to six times as many

// reading has do work with the request's body.
func reading[T any](do func(context.Context, T) (any, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		var v T
		d := json.NewDecoder(r.Body)
		d.DisallowUnknownFields()
		if d.Decode(&v) != nil {
			return nil, &Error{Text: "the request cannot be read; are fjmcpctl and fjmcp-broker of one version?"}
		}
		return do(r.Context(), v)
	}
}
