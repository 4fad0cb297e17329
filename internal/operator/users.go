package operator

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

// ListUsers implements admin.Operator.
func (o *Operator) ListUsers(ctx context.Context) ([]admin.User, error) {
	details, err := o.users(ctx)
	all := make([]admin.User, len(details))
	for i, d := range details {
		all[i] = d.User
	}
	return all, err
}

// users are all users, by name, each with what it has.
func (o *Operator) users(ctx context.Context) ([]admin.UserDetail, error) {
	rows, err := o.cfg.Store.Users(ctx)
	if err != nil {
		return nil, err
	}
	grants, err := o.ListGrants(ctx)
	if err != nil {
		return nil, err
	}
	sessions, err := o.List(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]admin.UserDetail, len(rows))
	for i, row := range rows {
		list[i] = userOf(row)
		d := &list[i]
		clients := map[string]bool{}
		for _, g := range grants {
			if g.UserID == d.UserID {
				d.Grants, clients[g.ClientID] = append(d.Grants, g), true
				d.LastUsed = later(d.LastUsed, g.LastUsed)
			}
		}
		for _, s := range sessions {
			if s.UserID != d.UserID {
				continue
			}
			d.Sessions = append(d.Sessions, s)
			if s.State == admin.Running {
				d.Running++
			}
		}
		d.Logins, d.Clients, d.Dormant = len(d.Grants), len(clients), len(d.Sessions)-d.Running
	}
	return list, nil
}

func userOf(u store.UserUse) admin.UserDetail {
	return admin.UserDetail{
		User: admin.User{
			User: u.Name, UserID: u.Subject, Blocked: !u.BlockedAt.IsZero(), BlockedSince: u.BlockedAt, BlockedBy: u.BlockedBy,
			LastLogin: u.LastLoginAt, LastUsed: u.LastUsedAt,
		},
		Grants: []admin.Grant{}, Sessions: []admin.Session{},
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// find returns the user who is meant. The error is an *admin.Error if that is nobody here,
// or several.
func (o *Operator) find(ctx context.Context, who string) (admin.UserDetail, error) {
	all, err := o.users(ctx)
	if err != nil {
		return admin.UserDetail{}, err
	}
	number, byNumber := strings.CutPrefix(who, admin.IDPrefix)
	found := slices.DeleteFunc(all, func(d admin.UserDetail) bool {
		if byNumber {
			return d.UserID != number
		}
		return who == "" || !strings.EqualFold(d.User.User, who)
	})
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return admin.UserDetail{}, o.noUser(who, byNumber)
	}
	var numbers []string // where a forge has moved, and a name with it
	for _, d := range found {
		numbers = append(numbers, admin.IDPrefix+d.UserID)
	}
	return admin.UserDetail{}, &admin.Error{Text: fmt.Sprintf("there are several users %q; say which: %s", who, strings.Join(numbers, ", "))}
}

// number is what Forgejo counts its users with.
var number = regexp.MustCompile(`^[1-9][0-9]{0,18}$`)

// noUser says that nobody is known by a name or a number.
func (o *Operator) noUser(who string, byNumber bool) error {
	if subject := strings.TrimPrefix(who, admin.IDPrefix); byNumber && !number.MatchString(subject) {
		return &admin.Error{Text: fmt.Sprintf("%q is no number of a user at the forge, such as %s7", who, admin.IDPrefix)}
	}
	if byNumber {
		return &admin.Error{Text: fmt.Sprintf("there is no user %q; fjmcpctl users list shows all", who), NotFound: true}
	}
	forge := o.cfg.Settings.ForgejoURL.JoinPath("api/v1/users", who)
	return &admin.Error{Text: fmt.Sprintf("there is no user %q; fjmcpctl users list shows all who have logged in here; the number of anybody else "+
		"is \"id\" in %s", who, forge), NotFound: true}
}

// ShowUser implements admin.Operator.
func (o *Operator) ShowUser(ctx context.Context, who string) (admin.UserDetail, error) {
	return o.find(ctx, who)
}

// BlockUser implements admin.Operator.
func (o *Operator) BlockUser(ctx context.Context, who string) (admin.UserEnded, error) {
	d, err := o.find(ctx, who)
	var fault *admin.Error
	if subject, byNumber := strings.CutPrefix(who, admin.IDPrefix); errors.As(err, &fault) && fault.NotFound && byNumber {
		d.UserID, err = subject, nil
	}
	if err != nil {
		return admin.UserEnded{}, err
	}
	end, fresh, err := o.cfg.Store.BlockUser(ctx, d.UserID, audit.Operator(ctx))
	if err != nil {
		return admin.UserEnded{}, fmt.Errorf("cannot store the block: %w", err)
	}
	kind := audit.UserBlocked
	if !fresh {
		kind = "" // what it ends now is in other events
	}
	d.Blocked = true
	return o.ended(ctx, d, end, session.Blocked, kind)
}

// RevokeUser implements admin.Operator.
func (o *Operator) RevokeUser(ctx context.Context, who string) (admin.UserEnded, error) {
	d, err := o.find(ctx, who)
	if err != nil {
		return admin.UserEnded{}, err
	}
	end, err := o.cfg.Store.RevokeUser(ctx, d.UserID)
	switch {
	case errors.Is(err, model.ErrNotFound): // blocked, and never here
		err = nil
	case err != nil:
		return admin.UserEnded{}, fmt.Errorf("cannot revoke the user's logins: %w", err)
	}
	return o.ended(ctx, d, end, session.Revoked, audit.UserRevoked)
}

const sessionsLeft = "the logins have ended, and a block holds, but sessions are left that could not be ended; " +
	"see the journal of fjmcp-broker, and then repeat the command"

// ended audits what has ended, as one event of the kind, if any, and one for each grant,
// and then ends the sessions: the trail has it also where a session does not end.
func (o *Operator) ended(ctx context.Context, d admin.UserDetail, end store.UserEnd, why string, kind audit.Kind) (admin.UserEnded, error) {
	ctx = context.WithoutCancel(ctx) // whoever asked for it may leave
	told := admin.UserEnded{User: d.User.User, UserID: d.UserID, Blocked: d.Blocked, Grants: grantsOf(end.Grants)}
	if kind != "" {
		o.userEvent(ctx, kind, d.User, fmt.Sprintf("revoked %d login(s)", len(end.Grants)))
	}
	o.grantEvents(ctx, end.Grants, why)
	for _, u := range end.Users {
		n, err := o.cfg.Sessions.EndUser(ctx, u.ID, why)
		told.SessionsEnded += n
		if err != nil {
			o.cfg.Log.Error("cannot end the sessions of a user", "user", u.Name, "user_id", u.Subject, "error", err)
			return told, &admin.Error{Text: sessionsLeft}
		}
	}
	return told, nil
}

// UnblockUser implements admin.Operator.
func (o *Operator) UnblockUser(ctx context.Context, who string) (admin.User, error) {
	d, err := o.find(ctx, who)
	if err != nil {
		return admin.User{}, err
	}
	switch err := o.cfg.Store.UnblockUser(ctx, d.UserID); {
	case errors.Is(err, model.ErrNotFound):
		return admin.User{}, &admin.Error{Text: fmt.Sprintf("the user %q is not blocked", who)}
	case err != nil:
		return admin.User{}, fmt.Errorf("cannot delete the block: %w", err)
	}
	d.Blocked, d.BlockedSince, d.BlockedBy = false, time.Time{}, ""
	o.userEvent(ctx, audit.UserUnblocked, d.User, "")
	return d.User, nil
}

func (o *Operator) userEvent(ctx context.Context, kind audit.Kind, u admin.User, detail string) {
	o.cfg.Audit.Event(ctx, audit.Event{Kind: kind, User: u.User, UserID: u.UserID, Outcome: "ok", Detail: detail})
}
