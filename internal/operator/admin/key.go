package admin

import (
	"context"
	"net/http"
	"time"
)

// Rotation says what a key rotation has done.
type Rotation struct {
	Values     int `json:"values"`     // sealed in the database
	Moved      int `json:"moved"`      // to the current key
	Unreadable int `json:"unreadable"` // with the keys the broker has
}

func (h *handler) rotateKey(r *http.Request) (any, error) { return h.cfg.RotateKey(r.Context()) }

// rotateTimeout is enough for millions of values. Cut off, the rest can be done
// again.
const rotateTimeout = 10 * time.Minute

// RotateKey has the broker seal everything with its current key.
func (c *Caller) RotateKey(ctx context.Context) (done Rotation, err error) {
	err = c.patient(rotateTimeout).call(ctx, http.MethodPost, "/key/rotate", nil, &done)
	return done, err
}
