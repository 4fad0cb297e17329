package fakeforge

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// seedTime is when everything a forge starts with was made.
var seedTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

type repo struct {
	id          int64
	owner       *user
	name        string
	description string
	private     bool
	issues      []*issue
}

// seed adds a user with a public and a private repository and their issues.
func (f *Forge) seed(u *user) {
	f.users = append(f.users, u)
	public := &repo{id: f.nextID(), owner: u, name: "hello", description: "a public repository of " + u.name}
	private := &repo{id: f.nextID(), owner: u, name: u.name + "-secret", description: "a private repository of " + u.name, private: true}
	f.repos = append(f.repos, public, private)
	f.addIssue(public, u, "First issue", "It does not work.")
	f.addIssue(public, u, "Second issue", "It works now.")
	f.addIssue(private, u, "Private issue", "Only "+u.name+" may read this.")
}

func (f *Forge) routeRepos() {
	f.api("GET /user/repos", false, userRepos, func(c *call) {
		found := []any{}
		for _, r := range f.repos {
			if r.owner == c.user {
				found = append(found, c.repoJSON(r))
			}
		}
		c.ok(list(c, found))
	})
	f.repoAPI("GET ", true, repository, func(c *call, r *repo) { c.ok(c.repoJSON(r)) })
}

// repoAPI registers a route below a repository that the user can see.
func (f *Forge) repoAPI(pattern string, anonymous bool, scopes []string, run func(*call, *repo)) {
	method, path, _ := strings.Cut(pattern, " ")
	f.api(method+" /repos/{owner}/{repo}"+path, anonymous, scopes, func(c *call) {
		if r := f.repo(c.user, c.r.PathValue("owner"), c.r.PathValue("repo")); r != nil {
			run(c, r)
			return
		}
		c.notFound()
	})
}

func (f *Forge) repo(u *user, owner, name string) *repo {
	return find(f.repos, func(r *repo) bool {
		return strings.EqualFold(r.owner.name, owner) && strings.EqualFold(r.name, name) && r.visibleTo(u)
	})
}

func (r *repo) visibleTo(u *user) bool { return !r.private || r.owner == u }

func (r *repo) fullName() string { return r.owner.name + "/" + r.name }

func (c *call) repoJSON(r *repo) map[string]any {
	mine := r.owner == c.user
	open := 0
	for _, i := range r.issues {
		if !i.closed {
			open++
		}
	}
	return map[string]any{
		"id": r.id, "owner": c.userJSON(r.owner), "name": r.name, "full_name": r.fullName(), "description": r.description,
		"empty": false, "private": r.private, "fork": false, "template": false, "mirror": false, "size": 24, "archived": false,
		"html_url": c.base + "/" + r.fullName(), "clone_url": c.base + "/" + r.fullName() + ".git", "url": c.base + "/api/v1/repos/" + r.fullName(),
		"stars_count": 0, "forks_count": 0, "watchers_count": 1, "open_issues_count": open, "release_counter": 0,
		"default_branch": "main", "created_at": seedTime, "updated_at": seedTime, "has_issues": true, "has_releases": false,
		"permissions": map[string]bool{"admin": mine, "push": mine, "pull": true},
	}
}

// body reads a JSON body and answers when it cannot.
func (c *call) body(v any) bool {
	if err := json.NewDecoder(c.r.Body).Decode(v); err != nil {
		return c.fail(http.StatusUnprocessableEntity, "cannot read the body")
	}
	return true
}
