package fakeforge

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// seedTime is when everything a forge starts with was made.
var seedTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

type repo struct {
	id      int64
	owner   *user
	name    string
	private bool
	issues  []issue
}

type issue struct {
	id          int64
	poster      *user
	title, text string
	made        time.Time
}

// seed adds a user with a public and a private repository and their issues.
func (f *Forge) seed(u *user) {
	f.users = append(f.users, u)
	delete(f.renamed, strings.ToLower(u.name))
	public := &repo{id: f.nextID(), owner: u, name: "hello"}
	private := &repo{id: f.nextID(), owner: u, name: u.name + "-secret", private: true}
	f.repos = append(f.repos, public, private)
	f.addIssue(public, u, "First issue", "It does not work.")
	f.addIssue(public, u, "Second issue", "It works now.")
	f.addIssue(private, u, "Private issue", "Only "+u.name+" may read this.")
}

func (f *Forge) addIssue(r *repo, poster *user, title, text string) {
	r.issues = append(r.issues, issue{f.nextID(), poster, title, text, f.now()})
}

// lfsBatch tells where large files are, and to ask for them with the Authorization that
// it was asked with, as Forgejo does (services/lfs/server.go).
func (f *Forge) lfsBatch(w http.ResponseWriter, r *http.Request) {
	download := map[string]any{"href": f.base(r) + "/objects/0", "header": map[string]string{"Authorization": r.Header.Get("Authorization")}}
	reply(w, http.StatusOK, map[string]any{"objects": []any{map[string]any{"oid": "0", "size": 1, "actions": map[string]any{"download": download}}}})
}

// repoAPI registers a route below a repository that the user can see.
func (f *Forge) repoAPI(pattern string, anonymous bool, scope string, run func(*call, *repo)) {
	method, path, _ := strings.Cut(pattern, " ")
	f.api(method+" /repos/{owner}/{repo}"+path, anonymous, []string{scope}, func(c *call) {
		r := find(f.repos, func(r *repo) bool {
			return strings.EqualFold(r.owner.name, c.r.PathValue("owner")) && strings.EqualFold(r.name, c.r.PathValue("repo")) &&
				(!r.private || r.owner == c.user)
		})
		if r == nil {
			c.fail(http.StatusNotFound, "The target couldn't be found.")
			return
		}
		run(c, r)
	})
}

func (r *repo) fullName() string { return r.owner.name + "/" + r.name }

func (c *call) listRepos() {
	found := []any{}
	for _, r := range c.f.repos {
		if r.owner == c.user {
			found = append(found, map[string]any{
				"id": r.id, "owner": c.userJSON(r.owner), "name": r.name, "full_name": r.fullName(), "description": "",
				"private": r.private, "html_url": c.base + "/" + r.fullName(), "clone_url": c.base + "/" + r.fullName() + ".git",
				"open_issues_count": len(r.issues), "default_branch": "main", "created_at": seedTime, "updated_at": seedTime,
				"has_issues": true, "permissions": map[string]bool{"admin": true, "push": true, "pull": true},
			})
		}
	}
	c.list(found)
}

func (c *call) issueJSON(r *repo, i int) map[string]any {
	path, is := r.fullName()+"/issues/"+strconv.Itoa(i+1), r.issues[i]
	return map[string]any{
		"id": is.id, "number": i + 1, "url": c.base + "/api/v1/repos/" + path, "html_url": c.base + "/" + path,
		"user": c.userJSON(is.poster), "title": is.title, "body": is.text, "labels": []any{}, "assets": []any{},
		"state": "open", "comments": 0, "created_at": is.made, "updated_at": is.made, "is_locked": false,
		"repository": map[string]any{"id": r.id, "name": r.name, "owner": r.owner.name, "full_name": r.fullName()},
	}
}

// listIssues lists those of r that are in the request's state. None is closed.
func (c *call) listIssues(r *repo) {
	found := []any{}
	if cmp.Or(c.r.FormValue("state"), "open") != "closed" {
		for i := range r.issues {
			found = append(found, c.issueJSON(r, i))
		}
	}
	c.list(found)
}

func (c *call) createIssue(r *repo) {
	var in struct{ Title, Body string }
	switch {
	case json.NewDecoder(c.r.Body).Decode(&in) != nil:
		c.fail(http.StatusUnprocessableEntity, "cannot read the body")
	case in.Title == "":
		c.fail(http.StatusUnprocessableEntity, "[Title]: Required")
	default:
		c.f.addIssue(r, c.user, in.Title, in.Body)
		reply(c.w, http.StatusCreated, c.issueJSON(r, len(r.issues)-1))
	}
}
