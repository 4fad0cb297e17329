package main

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/admin"
)

// listCommand makes a list subcommand: a table for people, JSON for scripts.
func listCommand[T any](socket *string, short, jsonHelp string,
	fetch func(*admin.Caller, context.Context) ([]T, error), table func(io.Writer, []T, time.Time) error) *cobra.Command {
	var asJSON bool
	list := &cobra.Command{
		Use:   "list",
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := fetch(admin.NewCaller(*socket), cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(all)
			}
			return table(cmd.OutOrStdout(), all, time.Now())
		},
	}
	list.Flags().BoolVar(&asJSON, "json", false, jsonHelp)
	return list
}
