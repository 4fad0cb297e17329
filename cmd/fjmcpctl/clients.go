package main

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

func (a *app) addClient() *cobra.Command {
	var n admin.NewClient
	add := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a client that cannot register itself, and print its ID and secret",
		Long: `Add a client that cannot register itself, and print its ID and secret.
The secret is stored as a hash and cannot be shown again.`,
		Example: `  fjmcpctl clients add "Our portal" --redirect-uri https://portal.example.org/callback
  fjmcpctl clients add "Editor" --public --redirect-uri http://127.0.0.1/callback
  fjmcpctl clients add "API gateway" --introspect
  fjmcpctl clients add "Nightly report" --device`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n.Name = args[0]
			added, err := a.caller().AddClient(cmd.Context(), n)
			return a.print(cmd, added, err, func(w *bytes.Buffer) {
				if added.Secret == "" {
					fmt.Fprintf(w, "client ID: %s\n", word(added.ID))
					return
				}
				fmt.Fprintf(w, "client ID:     %s\nclient secret: %s\n\nThe secret is not shown again.\n", word(added.ID), word(added.Secret))
			})
		},
	}
	add.Flags().StringArrayVar(&n.RedirectURIs, "redirect-uri", nil, "where logins return to; give it once for each URI")
	add.Flags().BoolVar(&n.Public, "public", false, "the client can keep no secret")
	add.Flags().BoolVar(&n.Device, "device", false, "its users log in elsewhere, with a code that it shows (RFC 8628)")
	add.Flags().BoolVar(&n.Introspect, "introspect", false, "let it ask what tokens stand for (RFC 7662)")
	return a.printing(add, "")
}

func (a *app) listClients() *cobra.Command {
	return a.printing(&cobra.Command{
		Use:   "list",
		Short: "List all clients, the oldest first",
		Long: `List all clients, the oldest first. Those that registered themselves are listed once
a user has logged in for them, with the part of their ID before the dot.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := a.caller().ListClients(cmd.Context())
			return a.print(cmd, all, err, func(w *bytes.Buffer) { printClients(w, all) })
		},
	}, ", with the redirect URIs and whole IDs")
}

func printClients(w *bytes.Buffer, all []admin.Client) {
	yesNo := map[bool]string{true: "yes", false: "no"}
	t := newTable(w, "CLIENT", "NAME", "ADDED BY", "AUTHENTICATION", "INTROSPECTS", "LOGINS", "AGE", "LAST USED")
	for _, c := range all {
		by := c.Kind
		if by == "registered" {
			by = "itself"
		}
		t.row(model.ShortID(c.ID), c.Name, by, c.AuthMethod, yesNo[c.Introspect], strconv.Itoa(c.Grants), since(c.Created), since(c.LastUsed))
	}
	t.Flush()
	fmt.Fprintf(w, "\n%s.\n", count(len(all), "client"))
}

func (a *app) removeClient() *cobra.Command {
	var yes bool
	remove := &cobra.Command{
		Use:   "remove CLIENT",
		Short: "Remove a client, and end its users' logins and sessions with it",
		Long: `Remove a client, and end its users' logins and sessions with it.
Its ID stays dead; of the ID of one that registered itself the part before the dot is enough.
It may register again, and then asks its users again.

Where more than one login would end it asks first, or needs --yes where nobody can
be asked.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeClients(),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := a.caller().ListClients(cmd.Context())
			if err != nil {
				return err
			}
			i := slices.IndexFunc(all, func(c admin.Client) bool { return c.ID == args[0] || model.ShortID(c.ID) == args[0] })
			if i >= 0 && all[i].Grants > 1 && !yes {
				would := "remove the client, and end " + count(all[i].Grants, "login")
				err := confirm(cmd, would, "removed", "Remove it, and end its logins?", func(w *bytes.Buffer) { printClients(w, all[i:i+1]) })
				if err != nil {
					return err
				}
			}
			return a.caller().RemoveClient(cmd.Context(), args[0])
		},
	}
	yesFlag(remove, &yes)
	return remove
}
