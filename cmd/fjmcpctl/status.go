package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
)

func statusCommand(socket *string) *cobra.Command {
	var out format
	status := &cobra.Command{
		Use:   "status",
		Short: "One look at the broker and all it needs",
		Long: `One look at the broker and all it needs: whether Forgejo answers, sessions can be
started and the database can be written, all tried at this moment, and how much
there is of everything.

The broker is started by it if its sockets are enabled, as by any connection.

Exit status: 0 if it is healthy, 1 if something is wrong or it is drained, 3 if it
does not run and could not be started.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := admin.NewCaller(*socket).Status(cmd.Context())
			if err != nil {
				if out.json && errors.Is(err, admin.ErrNotRunning) {
					_ = out.print(cmd, map[string]string{"health": admin.NotRunning}, nil) // err says more
				}
				return err
			}
			err = out.print(cmd, s, func(w io.Writer) error { return printStatus(w, s, time.Now()) })
			if err == nil && s.Health != admin.Healthy {
				err = errTold
			}
			return err
		},
	}
	out.flag(status, "")
	return status
}

func printStatus(w io.Writer, s admin.Status, now time.Time) error {
	t := newTable(w)
	t.row("broker", s.Health)
	t.row("version", s.Version)
	t.row("started", moment(now, s.Started))
	if !s.DrainingSince.IsZero() {
		t.row("drained", moment(now, s.DrainingSince)+"; fjmcpctl drain --resume ends it")
	}
	t.row("public URL", s.PublicURL)
	t.row("Forgejo", s.Forgejo.URL+": "+state(s.Forgejo.Problem, s.Forgejo.Version))
	t.row("launcher", s.Launcher.Kind+": "+state(s.Launcher.Problem, ""))
	t.row("store", s.Store.Path+": "+state(s.Store.Problem, fmt.Sprintf("%s, schema %s", size(s.Store.Bytes), s.Store.Schema)))
	t.row("store key", keyState(s.Store))
	t.row("sessions", fmt.Sprintf("%d of %d running, at most %d of a user; %d dormant; %d units warm", s.Sessions.Running, s.Sessions.Max, s.Sessions.PerUser, s.Sessions.Dormant, s.Sessions.Warm))
	t.row("in flight", count(s.Sessions.InFlight, "call"))
	t.row("known", fmt.Sprintf("%s, %s, %s", count(s.Store.Users, "user"), count(s.Store.Clients, "client"), count(s.Store.Logins, "login")))
	if err := t.flush(); err != nil || s.Health != admin.Degraded {
		return err
	}
	_, err := io.WriteString(w, "\nSee also: journalctl -u fjmcp-broker.service -p warning -n 20\n")
	return err
}

// state is "ok" with a detail, or what is wrong.
func state(problem, detail string) string {
	switch {
	case problem != "":
		return problem
	case detail != "":
		return "ok, " + detail
	}
	return "ok"
}

func keyState(s admin.StoreStatus) string {
	text := fmt.Sprintf("seals %s", count(s.Sealed, "value"))
	if s.OlderKey > 0 {
		text += fmt.Sprintf(", %d of them under an older key: fjmcpctl key rotate", s.OlderKey)
	}
	if s.Unreadable > 0 {
		text += fmt.Sprintf("; %d cannot be read with any key of the broker's: fjmcpctl key rotate says what to do", s.Unreadable)
	}
	return text
}

// size is a number of bytes for people.
func size(n int64) string {
	v, unit := float64(n)/1000, "kB"
	for _, larger := range []string{"MB", "GB", "TB"} {
		if v < 1000 {
			break
		}
		v, unit = v/1000, larger
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}
