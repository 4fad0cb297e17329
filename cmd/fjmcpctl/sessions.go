package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/admin"
	"github.com/fjmcp/fjmcp-broker/internal/audit"
)

func sessionsCommand(socket *string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "sessions", Short: "Sessions of MCP clients",
		Args: cobra.NoArgs, // without it cobra takes a misspelt subcommand for a wish for help
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(listCommand(socket, "List all sessions, the longest unused first", "print JSON", (*admin.Caller).Sessions, printSessions))
	return cmd
}

func printSessions(w io.Writer, all []admin.Session, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SESSION\tUSER\tCLIENT\tKIND\tSTATE\tAGE\tIDLE\tCALLS\tUNIT")
	for _, s := range all {
		unit := s.Unit
		if unit == "" {
			unit = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", s.ID, audit.Clean(s.User), audit.Clean(s.Client), s.Kind, s.State,
			since(now, s.Created), since(now, s.LastUsed), s.InFlight, unit)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	noun := "sessions"
	if len(all) == 1 {
		noun = "session"
	}
	_, err := fmt.Fprintf(w, "\n%d %s.\n", len(all), noun)
	return err
}

// since is the whole seconds, minutes or hours from then to now.
func since(now, then time.Time) string {
	d := max(now.Sub(then), 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dmin", int(d.Minutes()))
	}
	return fmt.Sprintf("%dh", int(d.Hours()))
}
