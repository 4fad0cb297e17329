package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
)

func showSessionCommand(socket *string) *cobra.Command {
	var out format
	show := &cobra.Command{
		Use:   "show SESSION",
		Short: "Tell all of one session, its calls in flight among it",
		Long: `Tell all of one session, its calls in flight among it, and where to look next.
SESSION is its ID as "sessions list" and the journal show it, or the beginning of
it, at least 4 characters.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			caller := admin.NewCaller(*socket)
			all, err := caller.Sessions(cmd.Context())
			if err != nil {
				return err
			}
			s, err := find(all, args[0])
			if err != nil {
				return err
			}
			d, err := caller.ShowSession(cmd.Context(), s.ID)
			if err != nil {
				return err
			}
			return out.print(cmd, d, func(w io.Writer) error { return printDetail(w, d, time.Now()) })
		},
	}
	out.flag(show, "")
	return show
}

func printDetail(w io.Writer, d admin.Detail, now time.Time) error {
	mode := "reads and writes"
	if d.ReadOnly {
		mode = "reads only"
	}
	state := d.State
	if !d.HeldUntil.IsZero() {
		state += "; forgejo-mcp keeps ending, and is not started before " + clock(d.HeldUntil)
	}
	t := newTable(w)
	for _, row := range [][2]string{
		{"session", d.ID},
		{"user", d.User},
		{"client", d.Client + " (" + d.ClientID + ")"},
		{"kind", d.Kind},
		{"state", state},
		{"unit", orDash(d.Unit)},
		{"protocol", orDash(d.Protocol)},
		{"mode", mode},
		{"created", moment(now, d.Created)},
		{"last used", moment(now, d.LastUsed)},
		{"ends", clock(d.Ends) + " at the latest"},
		{"in flight", count(len(d.Calls), "call")},
	} {
		t.row(row[:]...)
	}
	if err := t.flush(); err != nil {
		return err
	}
	if len(d.Calls) > 0 {
		fmt.Fprintln(w)
		if err := printCalls(w, d.Calls, now); err != nil {
			return err
		}
	}
	return printWhereNext(w, d)
}

func printWhereNext(w io.Writer, d admin.Detail) error {
	if d.Launcher != "systemd" {
		_, err := fmt.Fprintf(w, "\nSee also: lines with FJMCP_SESSION=%s in the broker's log\n", word(d.ID))
		return err
	}
	fmt.Fprint(w, "\nSee also:\n")
	if d.Unit != "" {
		fmt.Fprintf(w, "  systemctl status %s\n", word(d.Unit))
	}
	_, err := fmt.Fprintf(w, "  journalctl -u fjmcp-broker -u 'fjmcp-session@*' FJMCP_SESSION=%s\n", word(d.ID))
	return err
}

// printCalls says what is in flight.
func printCalls(w io.Writer, calls []admin.Call, now time.Time) error {
	t := newTable(w, "SESSION", "USER", "CALL", "AGE")
	for _, c := range calls {
		name := c.Method
		if c.Tool != "" {
			name += " " + c.Tool
		}
		t.row(c.Session, c.User, name, since(now, c.Began))
	}
	return t.flush()
}
