package journal

import (
	"iter"
	"slices"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// Filter chooses events; what is empty does not matter. Names of users, clients and
// repositories are compared as Forgejo does, without regard to case, all else exactly.
type Filter struct {
	User    string // login name; with UserID, which counts then, of what has no id
	UserID  string // the forge's id of the user
	Client  string // name or ID
	Session string
	Tool    string
	Rule    string // of the policy, that refused it
	Repo    string // owner/name: that the arguments name, or that the call touched, or may have
	Outcome string
	Failed  bool // only what failed
	Kinds   []audit.Kind
}

// Match reports whether the filter lets an event through.
func (f *Filter) Match(e Event) bool {
	return (len(f.Kinds) == 0 || slices.Contains(f.Kinds, e.Kind)) &&
		f.isUser(e) &&
		(f.Client == "" || strings.EqualFold(e.Client, f.Client) || e.ClientID != "" && e.ClientID == model.ShortID(f.Client)) &&
		(f.Session == "" || e.Session == f.Session) &&
		(f.Tool == "" || e.Tool == f.Tool) &&
		(f.Rule == "" || e.Rule == f.Rule) &&
		(f.Repo == "" || f.isRepo(e)) &&
		(f.Outcome == "" || e.Outcome == f.Outcome) &&
		(!f.Failed || e.Failed)
}

func (f *Filter) isUser(e Event) bool {
	switch {
	case f.UserID != "" && e.UserID != "":
		return e.UserID == f.UserID
	case f.User != "":
		return strings.EqualFold(e.User, f.User)
	}
	return f.UserID == ""
}

func (f *Filter) isRepo(e Event) bool {
	same := func(name string) bool { return strings.EqualFold(name, f.Repo) }
	return same(e.Repo) || slices.ContainsFunc(e.ReposSeen, same) || slices.ContainsFunc(e.ReposPossible, same)
}

// Bearer finds the id of the user who had a login name last, in events that come newest
// first. It is empty where none has it.
func Bearer(newestFirst iter.Seq2[Event, error], name string) (id string, err error) {
	for e, err := range newestFirst {
		if err != nil {
			return "", err
		}
		if e.UserID != "" && strings.EqualFold(e.User, name) {
			return e.UserID, nil
		}
	}
	return "", nil
}
