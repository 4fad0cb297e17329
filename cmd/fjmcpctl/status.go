package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
)

func (a *app) status() *cobra.Command {
	return a.printing(&cobra.Command{
		Use:   "status",
		Short: "One look at the broker and all it needs",
		Long: `One look at the broker and all that a new user needs: whether the database can be
written, forgejo-mcp starts in a session's sandbox, Forgejo answers and knows the
client ID and secret, and the public URL leads here; with the cause and the cure of
what is wrong, and how much there is of everything. What was looked at a moment ago
is not looked at again.

The broker is started by it if its sockets are enabled, as by any connection.

Exit status: 0 if it is healthy, 1 if something is wrong or it is drained, 3 if it
does not run and could not be started.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.caller().Status(cmd.Context())
			cure(s)
			if a.json && errors.Is(err, admin.ErrNotRunning) {
				_ = a.print(cmd, map[string]string{"health": admin.NotRunning}, nil, nil) // err says more
			}
			err = a.print(cmd, s, err, func(w *bytes.Buffer) { printStatus(w, s) })
			if err == nil && s.Health != admin.Healthy {
				err = errTold
			}
			return err
		},
	}, "")
}

// cure has this program's own cures in place of what a broker says: the operator may copy
// them.
func cure(s admin.Status) {
	for i := range s.Checks {
		c := &s.Checks[i]
		c.Cure = c.Fault.Cure()
		if s.Launcher.Kind == config.LauncherProcess {
			c.Cure = health.WithoutSystemd(c.Cure)
		}
	}
}

func printStatus(w *bytes.Buffer, s admin.Status) {
	t := newTable(w)
	t.row("broker", s.Health)
	t.row("version", s.Version)
	t.row("started", moment(s.Started))
	if !s.DrainingSince.IsZero() {
		t.row("drained", moment(s.DrainingSince)+"; fjmcpctl drain --resume ends it")
	}
	t.row("public URL", s.PublicURL)
	t.row("Forgejo", s.Forgejo.URL+": "+state(s.Forgejo.Problem, s.Forgejo.Version))
	t.row("launcher", s.Launcher.Kind+": "+state(s.Launcher.Problem, ""))
	t.row("store", s.Store.Path+": "+state(s.Store.Problem, fmt.Sprintf("%s, schema %s", size(s.Store.Bytes), s.Store.Schema)))
	t.row("store key", keyState(s.Store))
	t.row("sessions", fmt.Sprintf("%d of %d running, at most %d of a user; %d dormant; %d units warm",
		s.Sessions.Running, s.Sessions.Max, s.Sessions.PerUser, s.Sessions.Dormant, s.Sessions.Warm))
	t.row("policy", policyState(s.Policy))
	t.row("in flight", count(s.Sessions.InFlight, "call"))
	t.row("known", fmt.Sprintf("%s, %s, %s", count(s.Store.Users, "user"), count(s.Store.Clients, "client"), count(s.Store.Logins, "login")))
	t.Flush()
	printChecks(w, s.Checks)
	if s.Health == admin.Degraded && s.Launcher.Kind != config.LauncherProcess {
		fmt.Fprint(w, "\nSee also: journalctl -u fjmcp-broker.service -p warning -n 20\n")
	}
}

// printChecks prints what was looked at, and then cause and cure of what is not well.
func printChecks(w *bytes.Buffer, all []health.Result) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := newTable(w, "CHECK", "STATE", "FOR", "LOOKED AT")
	for _, r := range all {
		if r.State == health.Pending {
			t.row(r.Name, string(r.State), "-", "-")
			continue
		}
		t.row(r.Name, string(r.State), since(r.Since), since(r.Checked)+" ago")
	}
	t.Flush()
	for _, r := range all {
		if r.Cause != "" {
			fmt.Fprintf(w, "\n%s: %s\n", oneLine(r.Name), oneLine(r.Cause))
		}
		if r.Cure != "" {
			fmt.Fprintf(w, "  to do: %s\n", r.Cure)
		}
	}
}

// oneLine keeps what a broker says from looking like what this program says.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// state is "ok" with a detail, or what is wrong.
func state(problem, detail string) string {
	return cmp.Or(problem, strings.TrimSuffix("ok, "+detail, ", "))
}

func policyState(p admin.PolicyStatus) string {
	text := "none: each user may do here what the forge lets them"
	if p.Rules > 0 {
		text = fmt.Sprintf("%s: %s, digest %s, loaded %s", p.File, count(p.Rules, "rule"), p.Digest, moment(p.Loaded))
	}
	if p.Failed {
		text += "; the last reload failed: fjmcpctl policy check"
	}
	if n := len(p.Unknown); n > 0 {
		text += "; " + count(n, "name") + " not resolved"
	}
	return text
}

func keyState(s admin.StoreStatus) string {
	text := "seals " + count(s.Sealed, "value")
	if s.OlderKey > 0 {
		text += fmt.Sprintf(", %d of them under an older key: fjmcpctl key rotate", s.OlderKey)
	}
	if s.Unreadable > 0 {
		text += fmt.Sprintf("; %d cannot be read with any key of the broker's: add theirs to store-key-old, or fjmcpctl key rotate deletes them", s.Unreadable)
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

func (a *app) rotateKey() *cobra.Command {
	return a.printing(&cobra.Command{
		Use:   "rotate",
		Short: "Seal everything in the database with the current key",
		Long: `Seal everything in the database with the current key.

Before, keep the old key as store-key-old, make a new store-key, and restart the
broker, which then seals with the new one and still reads with the old one:

  cd /etc/fjmcp/credentials
  mv store-key store-key-old
  (umask 077; head -c 32 /dev/urandom >store-key)
  systemctl restart fjmcp-broker.service
  fjmcpctl key rotate

Afterwards store-key-old can go. The broker serves all the while, and the command
may be repeated.
What neither key opens is deleted, and counted: those users log in again. fjmcpctl
status tells before whether there is such; if you have its key, add it to store-key-old.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := a.caller().RotateKey(cmd.Context())
			err = a.print(cmd, r, err, func(w *bytes.Buffer) {
				fmt.Fprintf(w, "%d of %d sealed values moved to the current key.\n", r.Moved, r.Values)
				if r.Unreadable > 0 {
					fmt.Fprintf(w, "%s that no key of the broker's opens deleted; those users log in again.\n", count(r.Unreadable, "value"))
				}
				fmt.Fprintln(w, "store-key-old is not needed any more; backups from before need it.")
			})
			return err
		},
	}, "")
}
