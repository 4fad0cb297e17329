package authorize

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/site"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/rights"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

// failed tells the person what to do next, with a way to try again and, where a client
// wanted the login, one back to it.
func (h *Handler) failed(r *http.Request, l store.Login, client model.Client, user model.User, err error) error {
	f, narrower, again := h.explain(err), errors.Is(err, errNarrower), h.again(l)
	switch {
	case l.Set != (model.ForgejoTokens{}) && resumable(err):
		again = h.resumeURL(r, "")
	case !narrower:
		h.drop(r.Context(), l)
	}
	refused := site.Refuse(f.status, f.code, f.title, f.text)
	if f.revoke {
		refused.Actions = append(refused.Actions, pages.Link("Open Forgejo's settings", h.cfg.Forgejo.ApplicationsURL()))
	}
	switch {
	case errors.Is(err, model.ErrPolicy): // who may not connect may disconnect
		refused.Actions = append(refused.Actions, pages.Link("Show my applications", h.cfg.AccountURL()))
	case !errors.Is(err, model.ErrBlocked):
		refused.Actions = append(refused.Actions, pages.Link("Try again", again))
	}
	if narrower {
		refused.Actions = append(refused.Actions, pages.Link("Continue with fewer permissions", h.resumeURL(r, "narrower")))
	}
	e := site.Event(audit.LoginFailed, user, client)
	e.Outcome, e.Detail, e.Failed = f.outcome, err.Error(), true
	var byPolicy *rights.Refused
	if errors.As(err, &byPolicy) {
		e.Rule = byPolicy.Rule
	}
	switch {
	case l.DeviceID != "":
		e.Detail = "by a code: " + e.Detail
		h.refuseDevice(r.Context(), l.DeviceID, err)
	case l.ClientID == "":
		e.Detail = "for the account page: " + e.Detail
	default:
		refused.Back = h.backWithError(l, oauth.Errorf(f.code, "%s", f.text))
	}
	h.cfg.Log.WarnContext(r.Context(), "login failed", "user", user.Name, "client", e.Client, "error", e.Detail)
	refused.Events = []audit.Event{e}
	return refused
}

// refuseDevice has a device whose user the policy lets do nothing stop asking. Whoever it is
// to be for in that user's place begins anew.
func (h *Handler) refuseDevice(ctx context.Context, id string, why error) {
	if !errors.Is(why, model.ErrPolicy) {
		return
	}
	if err := h.cfg.Store.DenyDeviceRequest(ctx, id); err != nil && !errors.Is(err, model.ErrNotFound) {
		h.cfg.Log.WarnContext(ctx, "cannot deny the request of a device", "error", err)
	}
}

// resumeURL leads back to the callback, without Forgejo's code: the login has
// its token set.
func (h *Handler) resumeURL(r *http.Request, accept string) string {
	v := url.Values{"state": {r.URL.Query().Get("state")}}
	if accept != "" {
		v.Set(acceptParam, accept)
	}
	return h.cfg.Issuer + "/oauth/callback?" + v.Encode()
}

// again is where a login began: an authorization request, the code of a device, or the
// account page.
func (h *Handler) again(l store.Login) string {
	switch {
	case l.DeviceID != "":
		return h.cfg.DeviceURL()
	case l.ClientID == "":
		return h.cfg.AccountURL()
	}
	v := url.Values{
		"response_type": {oauth.ResponseCode}, "client_id": {l.ClientID}, "redirect_uri": {l.RedirectURI}, "scope": {l.Requested},
		"code_challenge": {l.Challenge}, "code_challenge_method": {oauth.S256},
	}
	for name, value := range map[string]string{"state": l.ClientState, "resource": l.Resource} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return h.authorizeURL(v)
}

// resumable reports whether the same token set may serve later: nothing was
// said against it, or against the login.
func resumable(err error) bool {
	var e *forgejo.Error
	if errors.As(err, &e) {
		return e.Kind == forgejo.Down || e.Kind == forgejo.Misconfigured
	}
	final := []error{errNarrower, model.ErrBlocked, model.ErrRevoked, model.ErrPolicy}
	return !slices.ContainsFunc(final, func(f error) bool { return errors.Is(err, f) })
}

// refusedBy tells a person of the policy's refusal: no more of it than the rule's name.
func (h *Handler) refusedBy(err error) string {
	var refused *rights.Refused
	if errors.As(err, &refused) && refused.Rule != "" {
		return "The rule '" + refused.Rule + "' of this server does not let your account connect applications, so nothing was connected, " +
			"and this server has forgotten what it was given at " + h.cfg.ForgeHost() + ". If you think that this is a mistake, ask the administrators of " + h.cfg.ForgeHost() + "."
	}
	return "No rule of this server lets your account connect applications, so nothing was connected, " +
		"and this server has forgotten what it was given at " + h.cfg.ForgeHost() + ". If you think that this is a mistake, ask the administrators of " + h.cfg.ForgeHost() + "."
}

// failure is what a failed login looks like from outside.
type failure struct {
	status      int
	title, text string
	code        string // OAuth error for the client
	outcome     string // for the audit trail
	revoke      bool   // the user has to revoke the application at Forgejo
}

// explain is the one place that maps a failed login to an answer.
func (h *Handler) explain(err error) failure {
	switch {
	case errors.Is(err, model.ErrBlocked):
		return failure{http.StatusForbidden, "Your account is blocked here",
			"The operator of this server has blocked your account, so no application can use it here, and nothing was connected. " +
				"If you think that this is a mistake, ask the administrators of " + h.cfg.ForgeHost() + ".",
			oauth.AccessDenied, "blocked", false}
	case errors.Is(err, model.ErrPolicy):
		return failure{http.StatusForbidden, "Your account may not connect here", h.refusedBy(err), oauth.AccessDenied, "policy", false}
	case errors.Is(err, model.ErrRevoked):
		return failure{http.StatusForbidden, "This login was ended",
			"While you were logging in, the operator of this server ended all logins of your account. Nothing was connected. You can log in again.",
			oauth.AccessDenied, "revoked", false}
	case errors.Is(err, errNarrower):
		return failure{http.StatusForbidden, "An older permission is in the way",
			"Forgejo still holds an older authorization that allows less than this server asks for now, so some tools will not " +
				"work. To renew it, revoke this application in Forgejo's settings under Applications, then try again.",
			oauth.AccessDenied, "scope_too_narrow", true}
	}
	var e *forgejo.Error
	if !errors.As(err, &e) {
		return failure{http.StatusServiceUnavailable, "Something went wrong here",
			"The server could not finish the login. Try again in a minute.", oauth.TemporarilyUnavailable, "error", false}
	}
	f := failure{http.StatusForbidden, "The login did not succeed", e.UserMessage(), oauth.AccessDenied, e.Kind.String(), false}
	switch e.Kind {
	case forgejo.Down:
		f.status, f.title, f.code = http.StatusServiceUnavailable, "Forgejo does not answer", oauth.TemporarilyUnavailable
		f.text = "Forgejo cannot be reached at the moment, so the login is not finished. Try again in a minute."
	case forgejo.Misconfigured:
		f.status, f.title, f.code = http.StatusBadGateway, "This server is not set up correctly", oauth.ServerError
	case forgejo.Suspended:
		f.title = "Your account may not sign in"
	case forgejo.ScopeTooBroad:
		f.title, f.revoke = "An older permission is in the way", true
	}
	return f
}
