package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// completeTimeout is how long somebody who has pressed Tab waits for the broker.
const completeTimeout = 2 * time.Second

// complete offers the IDs of what there is, each with a description. A broker that does
// not answer has nothing.
func complete[T any](list func(context.Context) ([]T, error), offer func(T) (id, description string)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
		defer cancel()
		all, _ := list(ctx)
		var offers offers
		for _, one := range all {
			offers.add(offer(one))
		}
		return offers, cobra.ShellCompDirectiveNoFileComp
	}
}

// The caller is made when Tab is pressed: --socket is read by then.

func (a *app) completeSessions() cobra.CompletionFunc {
	list := func(ctx context.Context) ([]admin.Session, error) { return a.caller().Sessions(ctx) }
	return complete(list, func(s admin.Session) (string, string) { return s.ID, s.User })
}

func (a *app) completeClients() cobra.CompletionFunc {
	list := func(ctx context.Context) ([]admin.Client, error) { return a.caller().ListClients(ctx) }
	return complete(list, func(c admin.Client) (string, string) { return model.ShortID(c.ID), c.Name })
}

// completeUsers offers the names that users have, each with the user's number.
func (a *app) completeUsers() cobra.CompletionFunc {
	list := func(ctx context.Context) ([]admin.User, error) { return a.caller().Users(ctx) }
	return complete(list, func(u admin.User) (string, string) { return u.User, u.UserID })
}

func (a *app) completeGrants() cobra.CompletionFunc {
	list := func(ctx context.Context) ([]admin.Grant, error) { return a.caller().Grants(ctx) }
	return complete(list, func(g admin.Grant) (string, string) { return g.ID, g.User })
}

// offers are what a shell puts into a command line by itself, so nothing that it would
// take for more than a word is among them, whatever the broker says.
type offers []cobra.Completion

func (o *offers) add(id, description string) {
	if word(id) == id {
		*o = append(*o, cobra.CompletionWithDesc(id, word(description)))
	}
}
