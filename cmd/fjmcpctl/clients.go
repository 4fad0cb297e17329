package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
)

func clientsCommand(socket *string) *cobra.Command {
	return group("clients", "OAuth clients", addClientCommand(socket), listClientsCommand(socket), removeClientCommand(socket))
}

func addClientCommand(socket *string) *cobra.Command {
	var n admin.NewClient
	var out format
	add := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a client that cannot register itself, and print its ID and secret",
		Long: `Add a client that cannot register itself, and print its ID and secret.
The secret is stored as a hash and cannot be shown again.`,
		Example: `  fjmcpctl clients add "Our portal" --redirect-uri https://portal.example.org/callback
  fjmcpctl clients add "Editor" --public --redirect-uri http://127.0.0.1/callback
  fjmcpctl clients add "API gateway" --introspect`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n.Name = args[0]
			added, err := admin.NewCaller(*socket).AddClient(cmd.Context(), n)
			if err != nil {
				return err
			}
			return out.print(cmd, added, func(w io.Writer) error { return printAdded(w, added) })
		},
	}
	add.Flags().StringArrayVar(&n.RedirectURIs, "redirect-uri", nil, "where logins return to; give it once for each URI")
	add.Flags().BoolVar(&n.Public, "public", false, "the client can keep no secret")
	add.Flags().BoolVar(&n.Introspect, "introspect", false, "let it ask what tokens stand for (RFC 7662)")
	out.flag(add, "")
	return add
}

func printAdded(w io.Writer, added admin.AddedClient) error {
	if added.Secret == "" {
		_, err := fmt.Fprintf(w, "client ID: %s\n", word(added.ID))
		return err
	}
	_, err := fmt.Fprintf(w, "client ID:     %s\nclient secret: %s\n\nThe secret is not shown again.\n", word(added.ID), word(added.Secret))
	return err
}

func listClientsCommand(socket *string) *cobra.Command {
	var out format
	list := &cobra.Command{
		Use:   "list",
		Short: "List all clients, the oldest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := admin.NewCaller(*socket).ListClients(cmd.Context())
			if err != nil {
				return err
			}
			return out.print(cmd, all, func(w io.Writer) error { return printClients(w, all, time.Now()) })
		},
	}
	out.flag(list, ", with the redirect URIs")
	return list
}

func printClients(w io.Writer, all []admin.Client, now time.Time) error {
	t := newTable(w, "CLIENT", "NAME", "ADDED BY", "AUTHENTICATION", "INTROSPECTS", "LOGINS", "AGE")
	for _, c := range all {
		introspects := "no"
		if c.Introspect {
			introspects = "yes"
		}
		t.row(c.ID, c.Name, addedBy(c.Kind), c.AuthMethod, introspects, strconv.Itoa(c.Grants), since(now, c.Created))
	}
	if err := t.flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n"+count(len(all), "client")+".\n")
	return err
}

// addedBy is a client's kind in the operator's words.
func addedBy(kind string) string {
	if kind == "registered" {
		return "itself"
	}
	return kind
}

func removeClientCommand(socket *string) *cobra.Command {
	return &cobra.Command{
		Use:   "remove CLIENT",
		Short: "Remove a client, and end its users' logins and sessions with it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return admin.NewCaller(*socket).RemoveClient(cmd.Context(), args[0])
		},
	}
}
