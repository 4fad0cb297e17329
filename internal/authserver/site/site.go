// Package site turns what the handlers of pages return into what a browser gets. They
// return an Answer or an error; here alone it is written, audited and, where it is a
// failure of ours, logged, so that no handler can forget one of the three or answer
// twice.
package site

import (
	"context"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/rights"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/tokens"
	"github.com/fjmcp/fjmcp-broker/internal/proto/endpoint"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

const maxForm = 64 << 10 // bytes

// Site is what all handlers work with. All fields but Name, Rights, Schemes and DeviceGrant are
// required.
type Site struct {
	Issuer  string // public URL of the server, without trailing slash; set by authserver
	Name    string // of the server, for people; else authserver sets it to Issuer's host
	Store   *store.Store
	Forgejo *forgejo.Client
	Tokens  *tokens.Tokens
	Rights  *rights.Rights // nil for no policy
	Audit   *audit.Logger
	Log     *slog.Logger
	Now     func() time.Time
	Schemes oauth.Schemes // of redirect URIs, besides the known ones; may be nil
	// DeviceGrant says that clients without a browser may log in by a code (RFC 8628).
	DeviceGrant bool
	// Revoked is told of every grant that ends here, so that its sessions end too.
	Revoked func(ctx context.Context, grantID string)
}

// Answer is what a handler has to say.
type Answer struct {
	Page     pages.Page // what is shown; or
	Location string     // where the browser goes, by 303, so that a form is not sent again
	Cookie   *http.Cookie
	Events   []audit.Event
}

// Refusal says why a handler does not do what was asked: as a page to people, and as an
// OAuth error to programs.
type Refusal struct {
	pages.Message
	Code   string        // of the OAuth error; without one programs get the page as well
	Wait   time.Duration // when to try again; 0 says nothing about it
	Events []audit.Event
}

// Refuse returns a Refusal with what to tell, and links to what can be done about it.
func Refuse(status int, code, title, text string, actions ...pages.Action) *Refusal {
	return &Refusal{Message: pages.Message{Status: status, Title: title, Text: text, Actions: actions}, Code: code}
}

// Error returns the text.
func (r *Refusal) Error() string { return r.Text }

// Event is an event about a user and a client, each unless it is the zero value, in which
// all went well.
func Event(kind audit.Kind, user model.User, c model.Client) audit.Event {
	e := audit.Event{Kind: kind, User: user.Name, UserID: user.Subject, Outcome: "ok"}
	if c.ID != "" {
		e.Client, e.ClientID = oauth.ClientName(c), model.ShortID(c.ID)
	}
	return e
}

// Serve answers with what handle returns. An error that is no *Refusal is a failure of
// ours: it is logged, and people are told what to do by broken.
func (s *Site) Serve(handle func(*http.Request) (Answer, error), broken *Refusal) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		var a Answer
		err := httpserver.CheckHeaders(r)
		if err != nil {
			err = Refuse(http.StatusBadRequest, oauth.InvalidRequest, "Not understood", "Your program sent a request that cannot be understood: "+err.Error()+".")
		} else {
			a, err = handle(r)
		}
		refused := &Refusal{}
		if err != nil {
			if !errors.As(err, &refused) {
				s.Log.ErrorContext(r.Context(), "cannot answer a browser", "path", r.URL.Path, "error", err)
				refused = broken
			}
			a = Answer{Page: refused.Message, Events: refused.Events}
		}
		for _, e := range a.Events {
			s.Audit.Event(r.Context(), e)
		}
		if a.Cookie != nil {
			http.SetCookie(w, a.Cookie)
		}
		if refused.Wait > 0 {
			ratelimit.SetRetryAfter(w, refused.Wait)
		}
		switch {
		case refused.Code != "" && httpserver.Prefers(r) == httpserver.JSON:
			httpserver.WriteJSON(w, refused.Status, oauth.Errorf(refused.Code, "%s", refused.Text))
		case a.Page != nil:
			if err := a.Page.Write(w, s.Frame()); err != nil {
				s.Log.ErrorContext(r.Context(), "cannot write a page", "error", err)
			}
		default:
			w.Header().Set("Location", a.Location)
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("Referrer-Policy", "no-referrer")
			w.WriteHeader(http.StatusSeeOther)
		}
	}
}

// Requested is the scope that a client is taken to have asked for, with a login for that
// resource: one that only reads asks for no more.
func (s *Site) Requested(scope string, resource endpoint.Path) string {
	switch {
	case resource.ReadOnly:
		scope = model.ScopeRead
	case !s.Forgejo.MayWrite():
		scope = "" // no client is to come back and ask for more
	}
	return model.GrantedScope(scope)
}

// Resource is the URL of an endpoint as it is kept with a login, "" for the zero value.
func (s *Site) Resource(at endpoint.Path) string {
	if at == (endpoint.Path{}) {
		return ""
	}
	return s.Issuer + at.String()
}

// DeviceURL is the page where users enter the code of a device.
func (s *Site) DeviceURL() string { return s.Issuer + "/device" }

// AccountURL is the page where users see what they have connected.
func (s *Site) AccountURL() string { return s.Issuer + "/account" }

// Frame is what pages have around them.
func (s *Site) Frame() pages.Frame {
	return pages.Frame{Site: s.Name, Home: s.Issuer, Forge: s.ForgeHost(), ForgeURL: template.URL(s.Forgejo.URL())}
}

// ForgeHost names the forge for people.
func (s *Site) ForgeHost() string {
	_, host, _ := strings.Cut(s.Forgejo.Origin(), "://")
	return host
}

// Cookie is the cookie of that name.
func (s *Site) Cookie(name string) pages.Cookie {
	return pages.Cookie{Name: name, Secure: strings.HasPrefix(s.Issuer, "https:")}
}

// Unneeded deletes the user's Forgejo token set if nothing can use it any more. That this
// does not work fails no request: access is taken back already.
func (s *Site) Unneeded(ctx context.Context, userID, userName string) {
	if _, err := s.Store.DropUnusedForgejoTokens(context.WithoutCancel(ctx), userID); err != nil {
		s.Log.ErrorContext(ctx, "cannot delete the forgejo tokens of a user without clients", "user", userName, "error", err)
	}
}
