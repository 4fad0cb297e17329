package admin

import (
	"context"
	"net/http"
	"time"
)

// Drain is how far a drain has come.
type Drain struct {
	Since time.Time `json:"since"`
	Calls []Call    `json:"calls"` // still in flight, the oldest first
}

// drainRequest is the body of POST /drain.
type drainRequest struct {
	Wait time.Duration `json:"wait_ns"` // for calls in flight
}

func (h *handler) drain(r *http.Request) (any, error) {
	var req drainRequest
	if err := read(r, &req); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), req.Wait)
	defer cancel()
	return h.cfg.Sessions.Drain(ctx)
}

func (h *handler) undrain(r *http.Request) (any, error) {
	h.cfg.Sessions.Undrain(r.Context())
	return struct{}{}, nil
}

// Drain has the broker let no further call begin, and waits up to wait for those
// in flight. Cut off, the drain continues without the wait.
func (c *Caller) Drain(ctx context.Context, wait time.Duration) (d Drain, err error) {
	err = c.patient(wait+30*time.Second).call(ctx, http.MethodPost, "/drain", drainRequest{wait}, &d)
	return d, err
}

// Undrain has the broker take calls again.
func (c *Caller) Undrain(ctx context.Context) error {
	return c.call(ctx, http.MethodDelete, "/drain", nil, nil)
}
