package forgejo

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// categories are Forgejo's scope categories, each with a read: and a write:
// level, where write includes read.
var categories = []string{
	"activitypub", "admin", "issue", "misc", "notification", "organization",
	"package", "repository", "user",
}

// oidc are the scopes that Forgejo's OpenID Connect side reads. They give no
// access to the API, and a list of nothing else means full access there.
var oidc = []string{"openid", "profile", "email", "groups"}

const (
	scopeAll        = "all"
	scopePublicOnly = "public-only" // takes away: public repositories and organizations only
)

// DefaultScopes is the least that all tools of forgejo-mcp 2.34 need, by the
// route groups of Forgejo's API. `write:` is what Forgejo wants for POST, PUT,
// PATCH and DELETE, and includes `read:`. Nothing is needed for the version and
// the other `misc` routes, and no tool uses packages, activitypub or admin.
var DefaultScopes = []string{
	// Files, branches, branch protection, commits, pull requests and reviews,
	// releases and their assets, webhooks, wiki, actions, forks.
	"write:repository",
	// Issues, comments, labels, milestones, attachments, dependencies, tracked
	// time and stopwatches.
	"write:issue",
	// List and mark notifications, also of one repository.
	"write:notification",
	// Organizations, teams and their members, organization labels,
	// repositories in an organization.
	"write:organization",
	// get_my_user_info, search_users, list_my_repos, list_my_stopwatches and
	// list_my_tracked_times need only read:user. Write is for one tool:
	// create_repo posts to /user/repos, which wants write:user besides
	// write:repository. An operator who can do without creating personal
	// repositories should configure read:user instead, for write:user also
	// covers the account's SSH keys, mail addresses and OAuth applications.
	"write:user",
}

// ValidateScopes refuses a list that Forgejo would not take as written. Forgejo
// answers an empty, OIDC-only, misspelt or comma-separated list with full
// access to the account, without a word, so each of these is an error here. The
// error names every fault and says what would be right.
func ValidateScopes(list []string) error {
	var faults []error
	access := false
	for _, name := range list {
		if err := validateScope(name); err != nil {
			faults = append(faults, err)
		}
		access = access || grantsAccess(name)
	}
	if len(faults) == 0 && !access {
		faults = append(faults, fmt.Errorf(
			"cannot use the scope list %q: it names no part of the API, and Forgejo takes that for full access; name at least one, such as %q",
			strings.Join(list, " "), strings.Join(DefaultScopes, " ")))
	}
	return errors.Join(faults...)
}

// grantsAccess reports whether name alone opens some part of the API.
func grantsAccess(name string) bool {
	level, category, ok := strings.Cut(name, ":")
	return name == scopeAll || ok && (level == "read" || level == "write") && slices.Contains(categories, category)
}

func validateScope(name string) error {
	switch {
	case grantsAccess(name), name == scopePublicOnly, slices.Contains(oidc, name):
		return nil
	case strings.ContainsAny(name, ",;"):
		parts := strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune(",; ", r) })
		return fmt.Errorf("cannot use the scope list %q: Forgejo separates scopes by spaces and takes anything else for full "+
			"access; write %q", name, strings.Join(parts, " "))
	case slices.Contains(categories, strings.ToLower(name)):
		name = strings.ToLower(name)
		return fmt.Errorf("cannot use the scope %q: it needs a level; write \"read:%s\" or \"write:%s\"", name, name, name)
	case strings.ToLower(name) != name && validateScope(strings.ToLower(name)) == nil:
		return fmt.Errorf("cannot use the scope %q: Forgejo's names are lower case; write %q", name, strings.ToLower(name))
	}
	return fmt.Errorf("cannot use the scope %q: Forgejo does not know it and would grant full access; its names are read: or "+
		"write: followed by one of %s, and all, public-only, %s",
		name, strings.Join(categories, ", "), strings.Join(oidc, ", "))
}

// rights is what a scope list opens at Forgejo: per category 1 for read and 2
// for write, and whether it is held to public repositories and organizations.
type rights struct {
	level      map[string]int
	publicOnly bool
}

// effective reads a scope list as Forgejo enforces it: OIDC names are skipped,
// and if nothing remains or one name is unknown the result is everything.
func effective(scope string) rights {
	r := rights{level: make(map[string]int)}
	empty := true
	for _, name := range strings.Split(strings.TrimSpace(scope), " ") {
		switch {
		case name == "" || slices.Contains(oidc, name):
			continue
		case name == scopePublicOnly:
			r.publicOnly = true
		case name == scopeAll || !grantsAccess(name):
			return everything()
		default:
			level, category, _ := strings.Cut(name, ":")
			r.level[category] = max(r.level[category], map[string]int{"read": 1, "write": 2}[level])
		}
		empty = false
	}
	if empty {
		return everything()
	}
	return r
}

func everything() rights {
	r := rights{level: map[string]int{}}
	for _, category := range categories {
		r.level[category] = 2
	}
	return r
}

// within reports whether r opens nothing that o does not.
func (r rights) within(o rights) bool {
	for category, level := range r.level {
		if level > o.level[category] {
			return false
		}
	}
	return r.publicOnly || !o.publicOnly
}

// ScopeWithin reports whether granted, as introspection tells it, is no broader
// than asked. Both are space-separated and are read as Forgejo enforces them,
// so an empty or unknown grant counts as full access. OIDC names do not count:
// Forgejo's userinfo tells the same with and without them.
func ScopeWithin(granted, asked string) bool {
	return effective(granted).within(effective(asked))
}

// ScopeSame reports whether granted opens exactly what asked does. A grant that
// is within but not the same is an older, narrower one that Forgejo kept: some
// tools will answer 403 until the user revokes it and logs in again.
func ScopeSame(granted, asked string) bool {
	return ScopeWithin(granted, asked) && ScopeWithin(asked, granted)
}

// Categories lists the parts of Forgejo's API that a scope list opens, as
// Forgejo enforces it: those that can be read, and of them those that can be
// changed. Names are those of the scopes, such as "issue".
func Categories(scope string) (read, write []string) {
	r := effective(scope)
	for _, category := range categories {
		if r.level[category] >= 1 {
			read = append(read, category)
		}
		if r.level[category] >= 2 {
			write = append(write, category)
		}
	}
	return read, write
}

// MayWrite reports whether any part of Forgejo can be changed with what the client asks
// for.
func (c *Client) MayWrite() bool {
	_, write := Categories(c.scope)
	return len(write) > 0
}
