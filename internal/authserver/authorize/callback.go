package authorize

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/site"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

// codeTTL is the life of an authorization code; RFC 6749 §4.1.2 allows 10 minutes.
const codeTTL = 2 * time.Minute

// acceptParam, on the callback's URL, says that the user continues with a Forgejo
// grant that is narrower than what is asked for.
const acceptParam = "accept"

// callback is where Forgejo returns the browser. A page after a failure may send
// it here again, to continue with the token set that was received before.
func (h *Handler) callback(r *http.Request) (site.Answer, error) {
	login, client, err := h.takeLogin(r)
	if err != nil {
		return site.Answer{}, h.refuseCallback(err)
	}
	account, query := login.ClientID == "", r.URL.Query()
	if query.Get("error") == oauth.AccessDenied && login.Set == (model.ForgejoTokens{}) {
		h.drop(r.Context(), login)
		if account {
			denied := audit.Event{Kind: audit.LoginDenied, Outcome: "denied", Detail: "at forgejo, for the account page"}
			return site.Answer{Location: h.cfg.AccountURL(), Events: []audit.Event{denied}}, nil
		}
		if login.DeviceID != "" {
			return site.Answer{}, h.deniedAtForgejo(r.Context(), login, client)
		}
		return h.denied(client, login, "at forgejo")
	}
	user, err := h.logIn(r.Context(), &login, query)
	var grant model.Grant
	switch {
	case account && (err == nil || identified(user, err)): // whoever may not connect may disconnect
		return h.signedIn(r, login, user)
	case err == nil:
		grant, err = h.grant(r.Context(), login, client, user)
	}
	switch {
	case err != nil:
		return site.Answer{}, h.failed(r, login, client, user, err)
	case login.DeviceID != "":
		return h.finishDevice(r, login, client, user, grant)
	}
	return h.finish(r, login, client, user, grant)
}

// errOtherBrowser says that a callback came to a browser that did not start the
// login.
var errOtherBrowser = errors.New("another browser")

// takeLogin finds the login that the state names, and its client, and takes it.
// In another browser it is left as it is, for the one that started it.
func (h *Handler) takeLogin(r *http.Request) (store.Login, model.Client, error) {
	hash := model.Hash(r.URL.Query().Get("state"))
	login, err := h.cfg.Store.Login(r.Context(), hash)
	if err != nil {
		return store.Login{}, model.Client{}, err
	}
	if !model.EqualHash(h.browserOf(r), login.BrowserHash) {
		return store.Login{}, model.Client{}, errOtherBrowser
	}
	var client model.Client
	if login.ClientID != "" {
		if client, err = h.cfg.Store.Client(r.Context(), login.ClientID); err != nil {
			return store.Login{}, model.Client{}, err
		}
	}
	login, err = h.cfg.Store.TakeLogin(r.Context(), hash)
	return login, client, err
}

func (h *Handler) refuseCallback(err error) error {
	switch {
	case errors.Is(err, errOtherBrowser):
		refused := site.Refuse(http.StatusForbidden, oauth.AccessDenied, "This login was started in another browser",
			"Finish it in the browser where you started it, with cookies allowed, or go back to your application and connect again. "+
				"If you have not started a login, close this page: nothing was agreed to.")
		refused.Events = []audit.Event{
			{Kind: audit.LoginFailed, Outcome: "other_browser", Detail: "the callback came to a browser that did not start the login", Failed: true},
		}
		return refused
	case errors.Is(err, model.ErrNotFound), errors.Is(err, model.ErrExpired), errors.Is(err, model.ErrReused):
		return site.Refuse(http.StatusBadRequest, oauth.InvalidRequest, "This login is over",
			"It was already finished or took too long. If your application is not connected, go back to it and connect again.",
			pages.Link("Show my applications", h.cfg.AccountURL()))
	}
	return fmt.Errorf("cannot read a login: %w", err)
}

// logIn turns Forgejo's answer into a user with a stored token set. The set is
// stored before anything else is asked for: by exchanging the code Forgejo has
// ended the refresh token of the user's earlier login. The user is returned
// also with an error, as far as it is known.
func (h *Handler) logIn(ctx context.Context, login *store.Login, query url.Values) (model.User, error) {
	// The user's browser going away must not lose the token set.
	ctx = context.WithoutCancel(ctx)
	if login.Set == (model.ForgejoTokens{}) {
		if err := h.exchange(ctx, login, query); err != nil {
			return model.User{}, err
		}
	}
	user, err := h.adopt(ctx, login.Set)
	if errors.Is(err, errNarrower) && query.Get(acceptParam) != "" {
		err = nil
	}
	return user, err
}

// exchange redeems Forgejo's code and keeps the token set with the login.
func (h *Handler) exchange(ctx context.Context, login *store.Login, query url.Values) error {
	if code := query.Get("error"); code != "" {
		return h.cfg.Forgejo.CallbackError(code)
	}
	set, err := h.cfg.Forgejo.Exchange(ctx, query.Get("code"), login.Verifier)
	if err != nil {
		return err
	}
	if err := h.cfg.Store.KeepLoginSet(ctx, login.StateHash, set); err != nil {
		return err
	}
	login.Set = set
	return nil
}

// finish makes the grant and returns to the client with a code.
func (h *Handler) finish(r *http.Request, login store.Login, client model.Client, user model.User, grant model.Grant) (site.Answer, error) {
	code := model.NewToken(model.PrefixCode)
	first, err := h.cfg.Store.FinishLogin(r.Context(), login.StateHash, grant, store.Code{
		Hash: model.Hash(code), RedirectURI: login.RedirectURI, Challenge: login.Challenge, ExpiresAt: grant.CreatedAt.Add(codeTTL),
	})
	if err != nil {
		return site.Answer{}, h.unfinished(r, login, client, user, err)
	}
	return site.Answer{Location: h.back(login, url.Values{"code": {code}}), Events: loggedIn(first, user, client, grant)}, nil
}

// grant is what a login leads to, if the policy lets the user do anything.
func (h *Handler) grant(ctx context.Context, login store.Login, client model.Client, user model.User) (model.Grant, error) {
	ceiling, err := h.ceiling(context.WithoutCancel(ctx), user, login.Set)
	return model.Grant{
		ID: model.NewID(), UserID: user.ID, ClientID: client.ID, CreatedAt: h.cfg.Now(),
		Scope: login.Scope, Requested: login.Requested, Resource: login.Resource, Ceiling: ceiling,
	}, err
}

// ceiling is what the policy lets the user do. The token set of a user whom it lets do
// nothing, which is model.ErrPolicy, is dropped at once: nothing of that user's can use it.
func (h *Handler) ceiling(ctx context.Context, user model.User, set model.ForgejoTokens) (string, error) {
	ceiling, err := h.cfg.Rights.AtLogin(ctx, user, set.AccessToken)
	if errors.Is(err, model.ErrPolicy) {
		err = errors.Join(err, h.cfg.Tokens.Discard(ctx, user.ID, set))
	}
	return ceiling, err
}

// loggedIn are the events of a login: the last is about itself. first says that it is the
// first for a client that registered itself.
func loggedIn(first bool, user model.User, client model.Client, grant model.Grant) (events []audit.Event) {
	if first {
		events = append(events, site.Event(audit.ClientRegistered, model.User{}, client))
	}
	e := site.Event(audit.LoginSucceeded, user, client)
	e.Grant, e.ReadOnly = grant.ID, audit.YesNo(model.ReadOnly(grant.Scope))
	return append(events, e)
}

// unfinished says why a login, whose user is known and has a token set, leads to nothing.
func (h *Handler) unfinished(r *http.Request, login store.Login, client model.Client, user model.User, err error) error {
	switch {
	case errors.Is(err, model.ErrNotFound): // another callback has ended it
		return h.refuseCallback(err)
	case errors.Is(err, model.ErrRevoked):
		h.cfg.Unneeded(r.Context(), user.ID, user.Name)
	}
	return h.failed(r, login, client, user, err)
}

// drop ends a login that leads nowhere. One that stays only takes up room.
func (h *Handler) drop(ctx context.Context, login store.Login) {
	if err := h.cfg.Store.DropLogin(context.WithoutCancel(ctx), login.StateHash); err != nil {
		h.cfg.Log.WarnContext(ctx, "cannot delete a login", "error", err)
	}
}

// identified reports whether err says only that the user's grant at Forgejo is
// not the one to work with: who the user is was told all the same, and taking
// access back needs no more.
func identified(user model.User, err error) bool {
	var e *forgejo.Error
	tooBroad := errors.As(err, &e) && e.Kind == forgejo.ScopeTooBroad
	return user.ID != "" && (tooBroad || errors.Is(err, errNarrower))
}
