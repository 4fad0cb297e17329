package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
)

// minPrefix is how much of a session's ID has to be given, characters.
const minPrefix = 4

// find returns the session of that ID, or the only one whose ID begins so.
func find(all []admin.Session, id string) (admin.Session, error) {
	var found []admin.Session
	for _, s := range all {
		if s.ID == id {
			return s, nil
		}
		if strings.HasPrefix(s.ID, id) {
			found = append(found, s)
		}
	}
	switch {
	case len(id) < minPrefix:
		return admin.Session{}, fmt.Errorf("%q is too short for the ID of a session: give at least %d characters", id, minPrefix)
	case len(found) == 0:
		return admin.Session{}, fmt.Errorf("there is no session %q\nhint: fjmcpctl sessions list shows all; one that ended is in the journal: journalctl -u fjmcp-broker FJMCP_SESSION=…", id)
	case len(found) > 1:
		var names []string
		for _, s := range found {
			names = append(names, fmt.Sprintf("%s (%s, %s)", word(s.ID), audit.Clean(s.User), audit.Clean(s.Client)))
		}
		return admin.Session{}, fmt.Errorf("%q is the beginning of several sessions: %s", id, strings.Join(names, "; "))
	}
	return found[0], nil
}

// filter chooses sessions; what is empty does not matter.
type filter struct {
	user   string
	client string // name or ID
	state  string
}

func (f *filter) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.user, "user", "", "only those of the user with that login name")
	cmd.Flags().StringVar(&f.client, "client", "", "only those of the client with that name or ID")
}

func (f *filter) check() error {
	if f.state != "" && f.state != admin.Running && f.state != admin.Dormant {
		return usageError(fmt.Sprintf("there is no state %q: use running or dormant", f.state))
	}
	return nil
}

// of returns those of all that the filter lets through, in their order.
func (f *filter) of(all []admin.Session) []admin.Session {
	return slices.DeleteFunc(all, func(s admin.Session) bool { return !f.takes(s) })
}

// takes compares names as Forgejo does, without regard to case.
func (f *filter) takes(s admin.Session) bool {
	return (f.user == "" || strings.EqualFold(s.User, f.user)) &&
		(f.client == "" || strings.EqualFold(s.Client, f.client) || s.ClientID == f.client) &&
		(f.state == "" || s.State == f.state)
}
