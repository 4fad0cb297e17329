package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
)

func (a *app) listUsers() *cobra.Command {
	var blocked bool
	list := &cobra.Command{
		Use:   "list",
		Short: "List the users who have logged in or are blocked, by name",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := a.caller().Users(cmd.Context())
			all = slices.DeleteFunc(all, func(u admin.User) bool { return blocked && !u.Blocked })
			return a.print(cmd, all, err, func(w *bytes.Buffer) { printUsers(w, all) })
		},
	}
	list.Flags().BoolVar(&blocked, "blocked", false, "only those who are blocked")
	return a.printing(list, "")
}

func printUsers(w *bytes.Buffer, all []admin.User) {
	yesNo := map[bool]string{true: "yes", false: "no"}
	t := newTable(w, "USER", "USER ID", "BLOCKED", "CLIENTS", "LOGINS", "RUNNING", "DORMANT", "LAST LOGIN", "LAST USED")
	for _, u := range all {
		t.row(cmp.Or(u.User, "-"), admin.IDPrefix+u.UserID, yesNo[u.Blocked], strconv.Itoa(u.Clients), strconv.Itoa(u.Logins),
			strconv.Itoa(u.Running), strconv.Itoa(u.Dormant), since(u.LastLogin), since(u.LastUsed))
	}
	t.Flush()
	fmt.Fprintf(w, "\n%s.\n", count(len(all), "user"))
}

// userForms is how a user is named.
const userForms = `USER is the login name at the forge, or the number there, which stays when the name
changes, such as id:7.`

func (a *app) showUser() *cobra.Command {
	return a.printing(&cobra.Command{
		Use:               "show USER",
		Short:             "Tell all of one user, logins and sessions among it",
		Long:              "Tell all of one user, logins and sessions among it.\n" + userForms,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeUsers(),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := a.caller().ShowUser(cmd.Context(), args[0])
			return a.print(cmd, d, err, func(w *bytes.Buffer) {
				printUser(w, d)
				fmt.Fprintf(w, "\nSee also:\n  fjmcpctl audit --user %s%s --since -7d\n", admin.IDPrefix, word(d.UserID))
			})
		},
	}, "")
}

func printUser(w *bytes.Buffer, d admin.UserDetail) {
	blocked := "no"
	if d.Blocked {
		blocked = "since " + moment(d.BlockedSince) + ", by " + d.BlockedBy
	}
	t := newTable(w)
	t.row("user", person(d.User.User, d.UserID))
	t.row("blocked", blocked)
	t.row("last login", moment(d.LastLogin))
	t.row("last used", moment(d.LastUsed))
	t.row("logins", strconv.Itoa(d.Logins))
	t.row("sessions", fmt.Sprintf("%d running, %d dormant", d.Running, d.Dormant))
	t.Flush()
	if len(d.Grants) > 0 {
		fmt.Fprintln(w)
		printGrants(w, d.Grants)
	}
	if len(d.Sessions) > 0 {
		fmt.Fprintln(w)
		printSessions(w, d.Sessions)
	}
}

func (a *app) revokeUser() *cobra.Command {
	return a.endUser("revoke", "revoked", &cobra.Command{
		Use:   "revoke USER",
		Short: "End all logins and sessions of a user",
		Long: `End all logins and sessions of a user: tokens of clients, logins to the account page
and those under way, sessions with their calls, and what is kept of Forgejo's tokens.
The user may log in again, which brings nothing of that back; "users block" keeps a
user out. ` + userForms + `

It asks first, or needs --yes where nobody can be asked.`,
		Example: `  fjmcpctl users revoke alice
  fjmcpctl users revoke id:7 --yes`,
	})
}

func (a *app) blockUser() *cobra.Command {
	return a.endUser("block", "blocked", &cobra.Command{
		Use:   "block USER",
		Short: "End all that a user has, and let that user log in no more",
		Long: `End all logins and sessions of a user, as "users revoke" does, and let that user log in
no more: who tries is told so after the login at the forge. It holds for the user's
number at the forge, under whatever name, until "users unblock"; also for a number
that was never here. Somebody else who gets the name is not blocked.
` + userForms + `

It asks first, or needs --yes where nobody can be asked.`,
		Example: `  fjmcpctl users block alice
  fjmcpctl users block id:7 --yes`,
	})
}

// endUser makes a command that ends all that a user has; the user is done so.
func (a *app) endUser(verb, done string, cmd *cobra.Command) *cobra.Command {
	var yes bool
	block := verb == "block"
	cmd.Args, cmd.ValidArgsFunction = cobra.ExactArgs(1), a.completeUsers()
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		d, err := a.meant(cmd, args[0], block)
		if err == nil && !yes {
			who := audit.Clean(person(d.User.User, d.UserID))
			would := fmt.Sprintf("%s %s, and end %s and %s", verb, who, count(d.Logins, "login"), count(len(d.Sessions), "session"))
			err = confirm(cmd, would, done, strings.ToUpper(verb[:1])+verb[1:]+" "+who+"?", func(w *bytes.Buffer) { printUser(w, d) })
		}
		if err != nil {
			return err
		}
		end := a.caller().RevokeUser
		if block {
			end = a.caller().BlockUser
		}
		ended, err := end(cmd.Context(), admin.IDPrefix+d.UserID) // who was shown, also if the name is another's by now
		return a.print(cmd, ended, err, func(w *bytes.Buffer) { printEnded(w, ended) })
	}
	yesFlag(cmd, &yes)
	return a.printing(cmd, "")
}

// meant is who is to be hit. A block may be of a number that was never here.
func (a *app) meant(cmd *cobra.Command, who string, block bool) (admin.UserDetail, error) {
	d, err := a.caller().ShowUser(cmd.Context(), who)
	var fault *admin.Error
	if number, ok := strings.CutPrefix(who, admin.IDPrefix); ok && block && errors.As(err, &fault) && fault.NotFound {
		d.UserID, err = number, nil
	}
	return d, err
}

func printEnded(w *bytes.Buffer, ended admin.UserEnded) {
	printRevoked(w, ended.Grants)
	blocked := ""
	if ended.Blocked {
		blocked = " is blocked"
	}
	fmt.Fprintf(w, "%s%s: %s and %s ended.\n", audit.Clean(person(ended.User, ended.UserID)), blocked,
		count(len(ended.Grants), "login"), count(ended.SessionsEnded, "session"))
}

func (a *app) unblockUser() *cobra.Command {
	return a.printing(&cobra.Command{
		Use:               "unblock USER",
		Short:             "Let a blocked user log in again",
		Long:              "Let a blocked user log in again. What the block ended stays ended.\n" + userForms,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeUsers(),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := a.caller().UnblockUser(cmd.Context(), args[0])
			return a.print(cmd, u, err, func(w *bytes.Buffer) {
				fmt.Fprintf(w, "%s may log in again.\n", audit.Clean(person(u.User, u.UserID)))
			})
		},
	}, "")
}
