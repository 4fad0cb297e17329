package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
)

// CheckPolicy holds a text, or the file policy.toml of the script, against what is in force,
// a grant "old". The forge knows no user "nobody".
func (d *desk) CheckPolicy(_ context.Context, t admin.PolicyText) (admin.PolicyCheck, error) {
	c := admin.PolicyCheck{Faults: []string{}, Added: []string{}, Removed: []string{}, Changed: []string{}, Idle: []string{}}
	if t.Text == nil {
		c.File = "/etc/fjmcp/policy.toml"
		text, err := os.ReadFile(filepath.Join(d.dir, "policy.toml"))
		if errors.Is(err, fs.ErrNotExist) {
			return c, nil
		}
		if err != nil {
			return c, err
		}
		s := string(text)
		t.Text = &s
	}
	doc, err := policy.Parse([]byte(*t.Text))
	var faulty *policy.Error
	if errors.As(err, &faulty) {
		c.Faults = faulty.Faults
		return c, nil
	}
	for _, s := range doc.Names() {
		if s.Text == "nobody" {
			c.Faults = append(c.Faults, "line 2: users: no user \"nobody\" can be seen at the forge")
			return c, nil
		}
	}
	was := &policy.Document{Rules: []policy.Rule{{Name: "old", Everyone: true, ReadOnly: true}}}
	changes := doc.Compare(was)
	c.Rules, c.Digest = len(doc.Rules), doc.Digest()
	c.Added, c.Removed, c.Changed = append(c.Added, changes.Added...), append(c.Removed, changes.Removed...), append(c.Changed, changes.Changed...)
	for _, r := range doc.Rules {
		if len(r.Users) > 0 {
			c.Idle = append(c.Idle, r.Name)
		}
	}
	return c, nil
}

// ReloadPolicy has the session that runs lose rights, where there is no fault.
func (d *desk) ReloadPolicy(ctx context.Context) (admin.PolicyLoad, error) {
	c, err := d.CheckPolicy(ctx, admin.PolicyText{})
	l := admin.PolicyLoad{PolicyCheck: c, Sessions: []admin.Session{}}
	if err == nil && len(c.Faults) == 0 && c.Rules > 0 && len(c.Changed) > 0 {
		l.Sessions = append(l.Sessions, d.all[0])
	}
	return l, err
}

func (d *desk) ExplainPolicy(_ context.Context, q admin.PolicyQuestion) (admin.PolicyAnswer, error) {
	a := admin.PolicyAnswer{User: q.User, UserID: "7", Rules: []admin.PolicyRule{}, Logins: []admin.PolicyLogin{}, Allowed: true}
	switch q.User {
	case "dave":
		return a, &admin.Error{Text: `there is no user "dave" here, and nobody who is not logged in can see one at the forge`, NotFound: true}
	case "free": // of no policy
		a.Logins = append(a.Logins, admin.PolicyLogin{Grant: "grant1", Client: "Claude", Created: time.Now().Add(-time.Hour), Covers: []string{}, Allowed: true})
		return a, nil
	}
	a.Policy, a.Allowed, a.Rule = true, q.Tool != "create_issue", cmp.Or(map[string]string{"acme/secret": "no-secret"}[q.Repository])
	a.Member = admin.PolicyMember{
		Asked: time.Now().Add(-3 * time.Minute), Counts: q.User != "cut", Administrator: true,
		Organizations: []admin.PolicyNamed{{ID: 12, Name: "acme"}}, Teams: []admin.PolicyNamed{{ID: 4, Name: "acme/dev"}, {ID: 5, Name: "acme/ops"}},
	}
	a.Rules = append(a.Rules,
		admin.PolicyRule{Name: "staff", Line: 3, By: []string{"user alice", "team acme/dev#4"}, Covers: "reading and writing, toolsets issues, in acme/*", Misses: []string{}, Decides: true},
		admin.PolicyRule{Name: "no-secret", Deny: true, Line: 9, By: []string{"everyone"}, Covers: "reading and writing, all tools, in acme/secret", Misses: []string{"tool", "repository"}})
	a.Logins = append(a.Logins,
		admin.PolicyLogin{Grant: "grant2", Client: "VS\nCode", Created: time.Now().Add(-time.Hour), Bound: &policy.Rights{Grants: []policy.Cover{{ReadOnly: true}}}, Covers: []string{"reading, all tools, everywhere"}},
		admin.PolicyLogin{Grant: "grant3", Client: "Cursor", Created: time.Now().Add(-time.Hour), Bound: &policy.Rights{}, Covers: []string{}, Rule: "no-secret"})
	return a, nil
}
