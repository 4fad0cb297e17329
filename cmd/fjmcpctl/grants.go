package main

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
)

var grants = kind[admin.Grant]{"grant", "grants", func(g admin.Grant) (id, user, client string) { return g.ID, g.User, g.Client }}

func (a *app) listGrants() *cobra.Command {
	var f filter
	list := &cobra.Command{
		Use:   "list",
		Short: "List the logins that stand, by user",
		Long: `List the logins that stand, by user. A login is one user's consent to one client
(an OAuth grant), with all tokens that have come of it since.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := a.caller().Grants(cmd.Context())
			all = slices.DeleteFunc(all, func(g admin.Grant) bool { return !f.lets(g.User, g.UserID, g.Client, g.ClientID) })
			return a.print(cmd, all, err, func(w *bytes.Buffer) { printGrants(w, all) })
		},
	}
	f.flags(list)
	return a.printing(list, "")
}

func printGrants(w *bytes.Buffer, all []admin.Grant) {
	t := newTable(w, "GRANT", "USER", "USER ID", "CLIENT", "SCOPE", "AGE", "LAST USED", "EXPIRES IN")
	for _, g := range all {
		t.row(g.ID, cmp.Or(g.User, "-"), admin.IDPrefix+g.UserID, g.Client, g.Scope, since(g.Created), since(g.LastUsed), span(time.Until(g.Expires)))
	}
	t.Flush()
	fmt.Fprintf(w, "\n%s.\n", count(len(all), "login"))
}

func (a *app) revokeGrants() *cobra.Command {
	var yes bool
	revoke := &cobra.Command{
		Use:   "revoke GRANT...",
		Short: "End logins with their tokens and sessions",
		Long: `End logins with their tokens and sessions. Their clients have to ask their users again.
GRANT is an ID as "grants list" and the journal (FJMCP_GRANT) show it, or the beginning
of it, at least 4 characters.

Revoking more than one asks first, or needs --yes where nobody can be asked.`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeGrants(),
		RunE: func(cmd *cobra.Command, ids []string) error {
			all, err := a.caller().Grants(cmd.Context())
			if err != nil {
				return err
			}
			hit, err := grants.choose(all, ids)
			if err != nil {
				return err
			}
			if len(hit) > 1 && !yes {
				err := confirm(cmd, "revoke "+count(len(hit), "login"), "revoked", "End them, and their sessions?", func(w *bytes.Buffer) { printGrants(w, hit) })
				if err != nil {
					return err
				}
			}
			whole := make([]string, len(hit))
			for i, g := range hit {
				whole[i] = g.ID
			}
			done, err := a.caller().RevokeGrants(cmd.Context(), whole)
			return a.print(cmd, done, err, func(w *bytes.Buffer) { printRevoked(w, done.Revoked) })
		},
	}
	yesFlag(revoke, &yes)
	return a.printing(revoke, "")
}

// printRevoked says which logins have ended.
func printRevoked(w *bytes.Buffer, all []admin.Grant) {
	t := newTable(w)
	for _, g := range all {
		t.row("revoked", g.ID, cmp.Or(g.User, admin.IDPrefix+g.UserID), cut(g.Client, cellWidth))
	}
	t.Flush()
}
