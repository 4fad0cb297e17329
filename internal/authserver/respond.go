package authserver

import (
	"errors"
	"net/http"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

func writeError(w http.ResponseWriter, e *oauth.Error) { httpserver.WriteJSON(w, e.Status(), e) }

// refusal maps the store's and Forgejo's words to what a client is told. It is
// the one place that does. Anything unknown is logged by the caller and told
// without detail.
func refusal(err error) *oauth.Error {
	var e *oauth.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, model.ErrNotFound):
		return oauth.Errorf(oauth.InvalidGrant, "it is unknown, or was issued to another client")
	case errors.Is(err, model.ErrExpired):
		return oauth.Errorf(oauth.InvalidGrant, "it has expired")
	case errors.Is(err, model.ErrReused):
		return oauth.Errorf(oauth.InvalidGrant, "it was already used; all tokens of this login are revoked")
	case errors.Is(err, model.ErrRevoked):
		return oauth.Errorf(oauth.InvalidGrant, "the login behind it was revoked")
	case errors.Is(err, model.ErrForgejoGrantDead):
		return oauth.Errorf(oauth.InvalidGrant, "forgejo no longer accepts this login; log in again")
	}
	return oauth.Errorf(oauth.TemporarilyUnavailable, "the server cannot answer at the moment; try again")
}

// unexpected reports whether refusal had no words for err.
func unexpected(err error) bool { return refusal(err).Code == oauth.TemporarilyUnavailable }
