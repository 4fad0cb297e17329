package authserver

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

const maxForm = 64 << 10 // bytes

// tokenRequest is a request about tokens of an authenticated client.
type tokenRequest struct {
	client model.Client
	params oauth.Params
}

// endpoint serves what is asked about tokens. What every such request needs, the form
// and the client's authentication, happens here, before any code or token is looked at.
func (s *Server) endpoint(answer func(context.Context, tokenRequest) (any, error)) http.HandlerFunc {
	return s.form(func(r *http.Request, params oauth.Params, given oauth.Credentials) (any, error) {
		client, err := s.clients.Authenticate(r.Context(), given, s.askingDevice(r.Context(), params))
		if err != nil {
			return nil, err
		}
		return answer(r.Context(), tokenRequest{client: client, params: params})
	})
}

// form reads what a program has sent. Here alone answers and refusals are written.
func (s *Server) form(answer func(*http.Request, oauth.Params, oauth.Credentials) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body any
		params, given, err := readForm(w, r)
		if err == nil {
			body, err = answer(r, params, given)
		}
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		httpserver.WriteJSON(w, http.StatusOK, body)
	}
}

func readForm(w http.ResponseWriter, r *http.Request) (oauth.Params, oauth.Credentials, error) {
	if err := httpserver.CheckHeaders(r); err != nil {
		return oauth.Params{}, oauth.Credentials{}, oauth.Errorf(oauth.InvalidRequest, "%v", err)
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return oauth.Params{}, oauth.Credentials{}, oauth.BodyError(err)
	}
	params, refused := oauth.ParseParams(r.PostForm)
	if refused != nil {
		return params, oauth.Credentials{}, refused
	}
	given, refused := oauth.ParseCredentials(r.Header.Get("Authorization"), params)
	if refused != nil {
		return params, given, refused
	}
	return params, given, nil
}

// tooMany is a refusal by a limit.
type tooMany struct {
	told *oauth.Error
	wait time.Duration
}

// Error returns what is told.
func (t *tooMany) Error() string { return t.told.Error() }

// refuse also counts what failed. Failed requests are limited, good ones never: a
// request is answered first and counted if it failed.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var limited *tooMany
	if errors.As(err, &limited) {
		ratelimit.SetRetryAfter(w, limited.wait)
		httpserver.WriteJSON(w, http.StatusTooManyRequests, limited.told)
		return
	}
	e := refusal(err)
	if e.Code == oauth.TemporarilyUnavailable {
		s.cfg.Log.ErrorContext(r.Context(), "cannot answer a request about tokens", "error", err)
	}
	status := e.Status()
	switch e.Code {
	case oauth.InvalidClient, oauth.InvalidGrant, oauth.SlowDown:
		if wait := s.failed.Take(r, claimedClient(r)); wait > 0 {
			ratelimit.SetRetryAfter(w, wait)
			status = http.StatusTooManyRequests
			e = oauth.Errorf(oauth.TemporarilyUnavailable, "too many failed requests; this one failed as well: %s", e.Description)
		}
	}
	if e.Code == oauth.InvalidClient && r.Header.Get("Authorization") != "" {
		w.Header().Set("WWW-Authenticate", `Basic realm="fjmcp"`) // RFC 6749 §5.2
	}
	httpserver.WriteJSON(w, status, e)
}

// claimedClient is the client id a request states, true or not.
func claimedClient(r *http.Request) string {
	if id, _, ok := r.BasicAuth(); ok {
		return id
	}
	if id := r.PostForm.Get("client_id"); id != "" {
		return id
	}
	return "none stated"
}

// refusals are what is told of a code or a refresh token that the store or Forgejo
// refuses, and of an access token.
var refusals = []struct {
	err           error
	grant, access string
}{
	{model.ErrNotFound, "it is unknown, or was issued to another client", "the access token is unknown"},
	{model.ErrExpired, "it has expired", "the access token has expired"},
	{model.ErrReused, "it was already used; all tokens of this login are revoked", ""},
	{model.ErrRevoked, "the login behind it was revoked", "the access token was revoked"},
	{model.ErrForgejoGrantDead, "forgejo no longer accepts this login; log in again", "forgejo no longer accepts this login"},
}

// refusal is what a client is told of err. What it does not know is told without detail.
func refusal(err error) *oauth.Error {
	var e *oauth.Error
	if errors.As(err, &e) {
		return e
	}
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return oauth.Errorf(oauth.InvalidGrant, "%s", r.grant)
		}
	}
	return oauth.Errorf(oauth.TemporarilyUnavailable, "the server cannot answer at the moment; try again")
}

// bearerFault says what is wrong with an access token, "" if err does not.
func bearerFault(err error) string {
	if errors.Is(err, model.ErrInsufficientScope) {
		return "this login may only read; log in again for " + model.GrantedScope("")
	}
	var other OtherResource
	if errors.As(err, &other) {
		return "this token is for " + string(other) + "; log in again for this address"
	}
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return r.access
		}
	}
	return ""
}
