package main

import (
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
)

func sessionsCommand(socket *string) *cobra.Command {
	return group("sessions", "Sessions of MCP clients", listSessionsCommand(socket), showSessionCommand(socket), stopSessionsCommand(socket))
}

func listSessionsCommand(socket *string) *cobra.Command {
	var f filter
	var out format
	list := &cobra.Command{
		Use:   "list",
		Short: "List sessions, the longest unused first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			all, err := admin.NewCaller(*socket).Sessions(cmd.Context())
			if err != nil {
				return err
			}
			all = f.of(all)
			return out.print(cmd, all, func(w io.Writer) error { return printSessions(w, all, time.Now()) })
		},
	}
	f.flags(list)
	list.Flags().StringVar(&f.state, "state", "", "only running or dormant ones")
	out.flag(list, "")
	return list
}

func printSessions(w io.Writer, all []admin.Session, now time.Time) error {
	t := newTable(w, "SESSION", "USER", "CLIENT", "KIND", "STATE", "AGE", "IDLE", "CALLS", "UNIT")
	for _, s := range all {
		t.row(s.ID, s.User, s.Client, s.Kind, s.State, since(now, s.Created), since(now, s.LastUsed), strconv.Itoa(s.InFlight), orDash(s.Unit))
	}
	if err := t.flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n"+count(len(all), "session")+".\n")
	return err
}
