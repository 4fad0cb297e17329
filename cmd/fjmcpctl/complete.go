package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// completeTimeout is how long somebody who has pressed Tab waits for the broker.
const completeTimeout = 2 * time.Second

// completeSessions offers the IDs of the sessions there are, each with whose it is. A
// broker that does not answer has none.
func (a *app) completeSessions(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
	defer cancel()
	all, _ := a.caller().Sessions(ctx)
	var offers offers
	for _, s := range all {
		offers.add(s.ID, s.User)
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}

// completeClients is completeSessions for clients, each with its name.
func (a *app) completeClients(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
	defer cancel()
	all, _ := a.caller().ListClients(ctx)
	var offers offers
	for _, c := range all {
		offers.add(model.ShortID(c.ID), c.Name)
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}

// completeUsers is completeSessions for users, by the names that they have, each with its number.
func (a *app) completeUsers(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
	defer cancel()
	all, _ := a.caller().Users(ctx)
	var offers offers
	for _, u := range all {
		offers.add(u.User, u.UserID)
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}

// completeGrants is completeSessions for logins.
func (a *app) completeGrants(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
	defer cancel()
	all, _ := a.caller().Grants(ctx)
	var offers offers
	for _, g := range all {
		offers.add(g.ID, g.User)
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}

// offers are what a shell puts into a command line by itself, so nothing that it would
// take for more than a word is among them, whatever the broker says.
type offers []cobra.Completion

func (o *offers) add(id, description string) {
	if word(id) == id {
		*o = append(*o, cobra.CompletionWithDesc(id, word(description)))
	}
}
