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
		t.row(s.ID, cmp.Or(s.User, "-"), admin.IDPrefix+s.UserID, s.Client, s.Kind, s.State, since(s.Created), since(s.LastUsed), strconv.Itoa(s.InFlight), cmp.Or(s.Unit, "-"))
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
		ValidArgsFunction: a.completeSessions(),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := a.caller().Sessions(cmd.Context())
			if err != nil {
				return err
			}
			s, err := sessions.find(all, args[0])
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
	t.row("user", person(d.User, d.UserID))
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
	fmt.Fprintf(w, "  %s\n", queryOf(word(d.ID)))
}

// queryOf shows a session's own lines and what the broker says of it. Matched is what
// journald sets: any program may write FJMCP_SESSION.
func queryOf(session string) string {
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

// person is a user for people; the name may be of nobody by now.
func person(name, number string) string {
	if name == "" {
		return admin.IDPrefix + number
	}
	return name + " (" + admin.IDPrefix + number + ")"
}

// kind is what can be named by the beginning of its ID.
type kind[T any] struct {
	noun    string
	command string // that lists it
	about   func(T) (id, user, client string)
}

var sessions = kind[admin.Session]{"session", "sessions", func(s admin.Session) (id, user, client string) { return s.ID, s.User, s.Client }}

// minPrefix is how much of an ID has to be given, characters.
const minPrefix = 4

// find returns the one of that ID, or the only one whose ID begins so.
func (k kind[T]) find(all []T, id string) (none T, err error) {
	var found []T
	var names []string
	for _, v := range all {
		whole, user, client := k.about(v)
		if whole == id {
			return v, nil
		}
		if strings.HasPrefix(whole, id) {
			found = append(found, v)
			names = append(names, fmt.Sprintf("%s (%s, %s)", word(whole), audit.Clean(user), audit.Clean(client)))
		}
	}
	switch {
	case len(id) < minPrefix:
		return none, fmt.Errorf("%q is too short for the ID of a %s: give at least %d characters", id, k.noun, minPrefix)
	case len(found) == 0:
		return none, fmt.Errorf("there is no %s %q\nhint: fjmcpctl %s list shows all; fjmcpctl audit tells of one that ended", k.noun, id, k.command)
	case len(found) > 1:
		return none, fmt.Errorf("%q is the beginning of several %ss: %s", id, k.noun, strings.Join(names, "; "))
	}
	return found[0], nil
}

// choose returns those of ids, each once.
func (k kind[T]) choose(all []T, ids []string) (hit []T, err error) {
	taken := map[string]bool{}
	for _, id := range ids {
		one, err := k.find(all, id)
		if err != nil {
			return nil, err
		}
		if whole, _, _ := k.about(one); !taken[whole] {
			taken[whole], hit = true, append(hit, one)
		}
	}
	return hit, nil
}

// filter chooses sessions; what is empty does not matter.
type filter struct {
	user   string // login name, or admin.IDPrefix and the forge's number of the user
	client string // name or ID
	state  string
}

func (f *filter) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.user, "user", "", "only those of the user with that login name, or with that number at the forge: id:7")
	cmd.Flags().StringVar(&f.client, "client", "", "only those of the client with that name or ID")
}

// lets reports whether what is a user's with a client passes. Names are compared as Forgejo
// does, without regard to case.
func (f *filter) lets(user, userID, client, clientID string) bool {
	isUser := strings.EqualFold(user, f.user)
	if id, ok := strings.CutPrefix(f.user, admin.IDPrefix); ok {
		isUser = userID == id
	}
	return (f.user == "" || isUser) &&
		(f.client == "" || strings.EqualFold(client, f.client) || clientID == f.client || model.ShortID(clientID) == f.client)
}

// of returns those of all that the filter lets through, in their order.
func (f *filter) of(all []admin.Session) []admin.Session {
	return slices.DeleteFunc(all, func(s admin.Session) bool {
		return !f.lets(s.User, s.UserID, s.Client, s.ClientID) || f.state != "" && s.State != f.state
	})
}
