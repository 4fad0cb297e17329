package authserver

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

const (
	deviceTTL    = 10 * time.Minute // of both codes; the login has to be done by then
	pollInterval = 5                // seconds (RFC 8628 §3.5)
)

// authorizeDevice is the device authorization endpoint (RFC 8628 §3.1). Each request is
// counted before anything is looked up for it, good or not: it stores a row, and may have
// a client's document fetched.
func (s *Server) authorizeDevice(r *http.Request, params oauth.Params, given oauth.Credentials) (any, error) {
	if wait := s.devices.Take(r, claimedClient(r)); wait > 0 {
		return nil, &tooMany{oauth.Errorf(oauth.TemporarilyUnavailable, "too many devices ask for access; try again later"), wait}
	}
	ctx := r.Context()
	client, err := s.clients.Authenticate(ctx, given, func(string) bool { return true })
	if err != nil {
		return nil, err
	}
	if !oauth.MayUse(client, oauth.GrantDevice) {
		return nil, errNoDeviceGrant
	}
	resource, refused := oauth.MatchResources(s.cfg.Issuer, params)
	if refused != nil {
		return nil, refused
	}
	source, _ := s.addresses.Source(r)
	deviceCode, userCode, now := model.NewToken(model.PrefixDevice), oauth.NewUserCode(), s.cfg.Now()
	letters, _ := oauth.ParseUserCode(userCode)
	err = s.cfg.Store.CreateDeviceRequest(ctx, store.DeviceRequest{
		ID: model.NewID(), ClientID: client.ID, Requested: s.cfg.Requested(params.Get("scope"), resource), Resource: s.cfg.Resource(resource),
		Address: source, CreatedAt: now, ExpiresAt: now.Add(deviceTTL), Interval: pollInterval,
	}, deviceCode, letters)
	if err != nil {
		return nil, err
	}
	return oauth.DeviceResponse{
		DeviceCode: deviceCode, UserCode: userCode, VerificationURI: s.cfg.DeviceURL(), VerificationURIComplete: s.cfg.DeviceURL() + "?user_code=" + userCode,
		ExpiresIn: int64(deviceTTL / time.Second), Interval: pollInterval,
	}, nil
}

var errNoDeviceGrant = oauth.Errorf(oauth.UnauthorizedClient, "this client has not registered for %s", oauth.GrantDevice)

// askingDevice tells the client of a device whose user has not agreed yet, for
// clientauth. Only who has the device code can have such a client looked for.
func (s *Server) askingDevice(ctx context.Context, params oauth.Params) func(id string) bool {
	if !s.cfg.DeviceGrant || params.Get("grant_type") != oauth.GrantDevice {
		return nil
	}
	return func(id string) bool {
		d, err := s.cfg.Store.DeviceRequestByCode(ctx, params.Get("device_code"))
		return err == nil && d.ClientID == id
	}
}

// redeemDevice is a device's poll for its tokens (RFC 8628 §3.4).
func (s *Server) redeemDevice(ctx context.Context, req tokenRequest) (any, error) {
	code := req.params.Get("device_code")
	if code == "" {
		return nil, oauth.Errorf(oauth.InvalidRequest, "device_code is missing")
	}
	if !oauth.MayUse(req.client, oauth.GrantDevice) {
		return nil, errNoDeviceGrant
	}
	resource, refused := oauth.MatchResources(s.cfg.Issuer, req.params)
	if refused != nil {
		return nil, refused
	}
	d, err := s.cfg.Store.DeviceRequestByCode(ctx, code)
	if err != nil {
		return nil, err
	}
	if !sameResource(resource, d.Resource) {
		return nil, oauth.Errorf(oauth.InvalidTarget, "resource is not that of the device authorization request")
	}
	answer, err := s.issue(ctx, req.client, "device code", func(pair store.Pair) (model.Grant, store.Pair, error) {
		return s.cfg.Store.RedeemDevice(ctx, code, req.client, pair)
	})
	return answer, pollError(err)
}

// pollError is err in the words of RFC 8628 §3.5, where that has any.
func pollError(err error) error {
	switch {
	case errors.Is(err, model.ErrPending):
		return oauth.Errorf(oauth.AuthorizationPending, "the user has not answered yet")
	case errors.Is(err, model.ErrTooSoon):
		return oauth.Errorf(oauth.SlowDown, "wait five seconds longer than before between two requests")
	case errors.Is(err, model.ErrDenied):
		return oauth.Errorf(oauth.AccessDenied, "the user did not agree")
	case errors.Is(err, model.ErrExpired):
		return oauth.Errorf(oauth.ExpiredToken, "the code has expired; ask for another")
	}
	return err
}
