package main

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

func (a *app) listSessions() *cobra.Command {
	var f filter
	list := &cobra.Command{
		Use:   "list",
		Short: "List sessions, the longest unused first",
		Args: cobra.MatchAll(cobra.NoArgs, func(*cobra.Command, []string) error {
			if f.state != "" && f.state != admin.Running && f.state != admin.Dormant {
				return fmt.Errorf("there is no state %q: use running or dormant", f.state)
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := a.caller().Sessions(cmd.Context())
			all = f.of(all)
			return a.print(cmd, all, err, func(w *bytes.Buffer) { printSessions(w, all) })
		},
	}
	f.flags(list)
	list.Flags().StringVar(&f.state, "state", "", "only running or dormant ones")
	return a.printing(list, "")
}

func printSessions(w *bytes.Buffer, all []admin.Session) {
	t := newTable(w, "SESSION", "USER", "USER ID", "CLIENT", "KIND", "STATE", "AGE", "IDLE", "CALLS", "UNIT")
	for _, s := range all {
		t.row(s.ID, cmp.Or(s.User, "-"), idPrefix+s.UserID, s.Client, s.Kind, s.State, since(s.Created), since(s.LastUsed), strconv.Itoa(s.InFlight), cmp.Or(s.Unit, "-"))
	}
	t.Flush()
	fmt.Fprintf(w, "\n%s.\n", count(len(all), "session"))
}

func (a *app) showSession() *cobra.Command {
	return a.printing(&cobra.Command{
		Use:   "show SESSION",
		Short: "Tell all of one session, its calls in flight among it",
		Long: `Tell all of one session, its calls in flight among it, and where to look next.
SESSION is its ID as "sessions list" and the journal show it, or the beginning of
it, at least 4 characters.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeSessions,
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := a.caller().Sessions(cmd.Context())
			if err != nil {
				return err
			}
			s, err := find(all, args[0])
			if err != nil {
				return err
			}
			d, err := a.caller().ShowSession(cmd.Context(), s.ID)
			return a.print(cmd, d, err, func(w *bytes.Buffer) { printDetail(w, d) })
		},
	}, "")
}

func printDetail(w *bytes.Buffer, d admin.Detail) {
	mode, state := "reads and writes", d.State
	if d.ReadOnly {
		mode = "reads only"
	}
	if !d.HeldUntil.IsZero() {
		state += "; forgejo-mcp keeps ending, and is not started before " + clock(d.HeldUntil)
	}
	t := newTable(w)
	t.row("session", d.ID)
	t.row("user", fmt.Sprintf("%s (%s%s)", cmp.Or(d.User, "-"), idPrefix, d.UserID))
	t.row("client", d.Client+" ("+model.ShortID(d.ClientID)+")")
	t.row("kind", d.Kind)
	t.row("state", state)
	t.row("unit", cmp.Or(d.Unit, "-"))
	t.row("protocol", cmp.Or(d.Protocol, "-"))
	t.row("mode", mode)
	t.row("created", moment(d.Created))
	t.row("last used", moment(d.LastUsed))
	t.row("ends", clock(d.Ends)+" at the latest")
	t.row("in flight", count(len(d.Calls), "call"))
	t.Flush()
	if len(d.Calls) > 0 {
		fmt.Fprintln(w)
		printCalls(w, d.Calls)
	}
	if d.Launcher != "systemd" {
		fmt.Fprintf(w, "\nSee also: lines with FJMCP_SESSION=%s in the broker's log\n", word(d.ID))
		return
	}
	fmt.Fprint(w, "\nSee also:\n")
	if d.Unit != "" {
		fmt.Fprintf(w, "  systemctl status %s\n", word(d.Unit))
	}
	fmt.Fprintf(w, "  %s\n", journal(word(d.ID)))
}

// journal shows a session's own lines and what the broker says of it. Matched is what
// journald sets: any program may write FJMCP_SESSION.
func journal(session string) string {
	return "journalctl --namespace=+fjmcp FJMCP_SESSION=" + session + " _SYSTEMD_SLICE=fjmcp-sessions.slice" +
		" + FJMCP_SESSION=" + session + " _SYSTEMD_UNIT=fjmcp-broker.service"
}

// printCalls says what is in flight.
func printCalls(w *bytes.Buffer, calls []admin.Call) {
	t := newTable(w, "SESSION", "USER", "CALL", "AGE")
	for _, c := range calls {
		t.row(c.Session, c.User, strings.TrimSpace(c.Method+" "+c.Tool), since(c.Began))
	}
	t.Flush()
}

// minPrefix is how much of a session's ID has to be given, characters.
const minPrefix = 4

// find returns the session of that ID, or the only one whose ID begins so.
func find(all []admin.Session, id string) (admin.Session, error) {
	var found []admin.Session
	var names []string
	for _, s := range all {
		if s.ID == id {
			return s, nil
		}
		if strings.HasPrefix(s.ID, id) {
			found = append(found, s)
			names = append(names, fmt.Sprintf("%s (%s, %s)", word(s.ID), audit.Clean(s.User), audit.Clean(s.Client)))
		}
	}
	switch {
	case len(id) < minPrefix:
		return admin.Session{}, fmt.Errorf("%q is too short for the ID of a session: give at least %d characters", id, minPrefix)
	case len(found) == 0:
		return admin.Session{}, fmt.Errorf("there is no session %q\nhint: fjmcpctl sessions list shows all; one that ended is in "+
			"the journal: %s", id, journal("…"))
	case len(found) > 1:
		return admin.Session{}, fmt.Errorf("%q is the beginning of several sessions: %s", id, strings.Join(names, "; "))
	}
	return found[0], nil
}

// filter chooses sessions; what is empty does not matter.
type filter struct {
	user   string // login name, or idPrefix and the forge's number of the user
	client string // name or ID
	state  string
}

func (f *filter) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.user, "user", "", "only those of the user with that login name, or with that number at the forge: id:7")
	cmd.Flags().StringVar(&f.client, "client", "", "only those of the client with that name or ID")
}

// idPrefix tells a user's number at the forge from a login name, which has no colon.
const idPrefix = "id:"

func (f *filter) isUser(s admin.Session) bool {
	if id, ok := strings.CutPrefix(f.user, idPrefix); ok {
		return s.UserID == id
	}
	return strings.EqualFold(s.User, f.user)
}

// of returns those of all that the filter lets through, in their order. Names are
// compared as Forgejo does, without regard to case.
func (f *filter) of(all []admin.Session) []admin.Session {
	return slices.DeleteFunc(all, func(s admin.Session) bool {
		return f.user != "" && !f.isUser(s) ||
			f.client != "" && !strings.EqualFold(s.Client, f.client) && s.ClientID != f.client && model.ShortID(s.ClientID) != f.client ||
			f.state != "" && s.State != f.state
	})
}
