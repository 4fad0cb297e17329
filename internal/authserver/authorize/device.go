package authorize

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/site"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

// A device shows a code, and its user enters it here (RFC 8628 §3.3). Whoever has a user
// enter a code of his own gets that user's access (§5.4), so a code in the URL only fills
// in the form, and what the user then sees is asked before the login, every time.

// Purposes of form tokens.
const (
	userCodeForm = "device code"
	deviceForm   = "device"
)

// deviceRoutes registers the pages below prefix.
func (h *Handler) deviceRoutes(mux *http.ServeMux, prefix string) {
	broken := site.Refuse(http.StatusServiceUnavailable, "", "Something went wrong here",
		"The server cannot answer at the moment. Try again in a minute.", pages.Link("Try again", h.cfg.DeviceURL()))
	mux.Handle("GET "+prefix+"/device", h.cfg.Serve(h.askCode, broken))
	mux.Handle("POST "+prefix+"/device", h.cfg.Serve(h.takeCode, broken))
	mux.Handle("POST "+prefix+"/device/answer", h.cfg.Serve(h.answerDevice, broken))
}

// askCode shows where to enter a code.
func (h *Handler) askCode(r *http.Request) (site.Answer, error) {
	browser, cookie := h.ensureBrowser(r)
	return site.Answer{Page: h.codePage(browser, r.URL.Query().Get("user_code"), ""), Cookie: cookie}, nil
}

// codePage is that page, with the code filled in if it can be one.
func (h *Handler) codePage(browser, typed, fault string) pages.Device {
	p := pages.Device{
		Fault: fault, Action: h.cfg.DeviceURL(),
		Fields: []pages.Field{{Name: "form_token", Value: pages.FormToken(browser, userCodeForm, nil)}},
	}
	if code, ok := oauth.ParseUserCode(typed); ok {
		p.Code = oauth.ShowUserCode(code)
	}
	return p
}

// What is wrong with a code that was entered.
const (
	noCode      = "A code has eight letters, none of them a vowel. Look at the device again."
	unknownCode = "This code is unknown, was used already, or its ten minutes are over. Compare it with the device, or start again there."
)

// takeCode shows what a code that was entered is for. Each entry is counted, right or wrong.
func (h *Handler) takeCode(r *http.Request) (site.Answer, error) {
	browser, typed := h.browserOf(r), r.PostFormValue("user_code")
	if !pages.ValidFormToken(r.PostFormValue("form_token"), browser, userCodeForm, nil) {
		return site.Answer{}, site.Refuse(http.StatusForbidden, "", "Please try again",
			"This form does not belong to this browser, or cookies are switched off.", pages.Link("Enter the code again", h.cfg.DeviceURL()))
	}
	code, ok := oauth.ParseUserCode(typed)
	if !ok {
		return site.Answer{Page: h.codePage(browser, "", noCode)}, nil
	}
	if wait := h.cfg.UserCodes.Take(r, ""); wait > 0 {
		refused := site.Refuse(http.StatusTooManyRequests, "", "Please wait a moment",
			"Too many codes were entered, from your network or at this server. Wait a minute, then enter the code again.",
			pages.Link("Enter the code again", h.cfg.DeviceURL()))
		refused.Wait = wait
		return site.Answer{}, refused
	}
	d, client, err := h.device(r.Context(), h.cfg.Store.DeviceRequestOf, code)
	if errors.Is(err, model.ErrNotFound) {
		return site.Answer{Page: h.codePage(browser, typed, unknownCode)}, nil
	}
	if err != nil {
		return site.Answer{}, err
	}
	return site.Answer{Page: h.question(r, browser, code, d, client)}, nil
}

// device finds a request and its client. model.ErrNotFound: there is no such request that
// can be answered. Else the error is as of findClient.
func (h *Handler) device(ctx context.Context, find func(context.Context, string) (store.DeviceRequest, error), by string) (store.DeviceRequest, model.Client, error) {
	d, err := find(ctx, by)
	if errors.Is(err, model.ErrNotFound) {
		return d, model.Client{}, err
	}
	if err != nil {
		return d, model.Client{}, fmt.Errorf("cannot read the request of a device: %w", err)
	}
	client, err := h.findClient(ctx, d.ClientID)
	if err == nil && !oauth.MayUse(client, oauth.GrantDevice) {
		err = model.ErrNotFound // its document said so before
	}
	return d, client, err
}

func (h *Handler) question(r *http.Request, browser, code string, d store.DeviceRequest, client model.Client) pages.DeviceQuestion {
	here, _ := h.cfg.Addresses.Source(r)
	asked := d.Address
	if thisMachine(asked) || r.Header.Get("X-Forwarded-For") != "" && !h.cfg.Addresses.Believed(r) {
		asked = "" // it is that of a reverse proxy, or may be: all that come by it have the same
	}
	return pages.DeviceQuestion{
		Client: oauth.ClientName(client), Publisher: oauth.Publisher(client), Proof: proof(client), Code: oauth.ShowUserCode(code),
		Address: asked, Here: asked == here, Asked: d.CreatedAt, Now: h.cfg.Now(),
		Parts: permissions(h.cfg.Forgejo.Scope()), ReadOnly: model.ReadOnly(d.Requested), Reads: !h.cfg.Forgejo.MayWrite(),
		Account: h.cfg.AccountURL(), Action: h.cfg.DeviceURL() + "/answer",
		Fields: []pages.Field{{Name: "request", Value: d.ID}, {Name: "form_token", Value: deviceToken(browser, d.ID)}},
	}
}

// thisMachine reports whether an address, as ratelimit tells it, is one of this machine.
func thisMachine(address string) bool {
	at, err := netip.ParsePrefix(address)
	if err != nil {
		addr, err := netip.ParseAddr(address)
		return err != nil || addr.IsLoopback()
	}
	return at.Contains(netip.IPv6Loopback())
}

// deviceToken ties the answer to the request that the browser was shown.
func deviceToken(browser, id string) string {
	return pages.FormToken(browser, deviceForm, url.Values{"request": {id}})
}

// proof is what a device has proved when it asked. No redirect URI binds it to anything:
// any program can name the id of a client that has no secret.
func proof(c model.Client) string {
	switch {
	case c.Kind == model.ClientOperator && oauth.HasSecret(c.AuthMethod):
		return pages.ProofSecret
	case c.Kind == model.ClientOperator:
		return pages.ProofAdded
	case c.Kind == model.ClientDocument && c.AuthMethod == oauth.AuthPrivateKey && !c.AllowNone:
		return pages.ProofKey
	}
	return ""
}

// answerDevice takes the answer to the question.
func (h *Handler) answerDevice(r *http.Request) (site.Answer, error) {
	id := r.PostFormValue("request")
	if !pages.ValidFormToken(r.PostFormValue("form_token"), h.browserOf(r), deviceForm, url.Values{"request": {id}}) {
		return site.Answer{}, site.Refuse(http.StatusForbidden, "", "Please confirm again",
			"This form does not belong to this browser, or cookies are switched off. Nothing was agreed to.",
			pages.Link("Enter the code again", h.cfg.DeviceURL()))
	}
	if err := h.limit(r, h.cfg.Logins, ""); err != nil {
		return site.Answer{}, err
	}
	d, client, err := h.device(r.Context(), h.cfg.Store.DeviceRequest, id)
	switch {
	case errors.Is(err, model.ErrNotFound):
		return site.Answer{}, h.deviceOver()
	case err != nil:
		return site.Answer{}, err
	case r.PostForm.Get("decision") != "allow":
		return site.Answer{}, h.denyDevice(r.Context(), d, client, "on the page that asks")
	}
	scope := d.Requested
	if r.PostForm.Get("access") != "write" || !h.cfg.Forgejo.MayWrite() {
		scope = model.ScopeRead
	}
	if err := h.cfg.Clients.Keep(r.Context(), client); err != nil {
		return site.Answer{}, fmt.Errorf("cannot store a client: %w", err)
	}
	return h.toForgejo(r, store.Login{ClientID: client.ID, Scope: scope, Requested: d.Requested, Resource: d.Resource, DeviceID: d.ID})
}

// deviceOver says that a request cannot be answered any more.
func (h *Handler) deviceOver() *site.Refusal {
	return site.Refuse(http.StatusBadRequest, "", "This code is over",
		"It was answered already, or its ten minutes are over. If your device is not connected, start again there.",
		pages.Link("Show my applications", h.cfg.AccountURL()))
}

// denyDevice ends a request whose user says no.
func (h *Handler) denyDevice(ctx context.Context, d store.DeviceRequest, client model.Client, where string) error {
	err := h.cfg.Store.DenyDeviceRequest(ctx, d.ID)
	if errors.Is(err, model.ErrNotFound) {
		return h.deviceOver()
	}
	if err != nil {
		return fmt.Errorf("cannot deny the request of a device: %w", err)
	}
	e := site.Event(audit.DeviceDenied, model.User{}, client)
	e.Outcome, e.Detail, e.Failed = "denied", where+"; asked for from "+d.Address, true
	refused := site.Refuse(http.StatusForbidden, oauth.AccessDenied, "Not connected",
		"You did not agree, so the device was not connected, and its code is over. If somebody has sent you the code or a link to this page, "+
			"tell the administrators of "+h.cfg.ForgeHost()+": it was an attempt to get into your account.")
	refused.Events = []audit.Event{e}
	return refused
}

// deniedAtForgejo is denyDevice for who has turned back at Forgejo.
func (h *Handler) deniedAtForgejo(ctx context.Context, login store.Login, client model.Client) error {
	d, err := h.cfg.Store.DeviceRequest(ctx, login.DeviceID)
	if errors.Is(err, model.ErrNotFound) {
		return h.deviceOver()
	}
	if err != nil {
		return fmt.Errorf("cannot read the request of a device: %w", err)
	}
	return h.denyDevice(ctx, d, client, "at forgejo")
}

// finishDevice makes the grant, which the device fetches.
func (h *Handler) finishDevice(r *http.Request, login store.Login, client model.Client, user model.User, grant model.Grant) (site.Answer, error) {
	d, err := h.cfg.Store.DeviceRequest(r.Context(), login.DeviceID)
	first := false
	switch {
	case errors.Is(err, model.ErrNotFound):
		err = model.ErrExpired
	case err == nil:
		first, err = h.cfg.Store.FinishDeviceLogin(r.Context(), login, grant)
	}
	if errors.Is(err, model.ErrExpired) {
		h.drop(r.Context(), login)
		h.cfg.Unneeded(r.Context(), user.ID, user.Name) // the login brought a set
		return site.Answer{}, h.deviceOver()
	}
	if err != nil {
		return site.Answer{}, h.unfinished(r, login, client, user, err)
	}
	events := loggedIn(first, user, client, grant)
	events[len(events)-1].Detail = "by a code; asked for from " + d.Address
	return site.Answer{Page: pages.Message{
		Status: http.StatusOK, Title: "The device is connected",
		Text: "It can use the account " + user.Name + " at " + h.cfg.ForgeHost() + " now. Go back to it: it continues by itself within seconds. " +
			"You can close this page.",
		Actions: []pages.Action{pages.Link("Show my applications", h.cfg.AccountURL())},
	}, Events: events}, nil
}
