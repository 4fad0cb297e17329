package fakeforge

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"slices"
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
	releases    []*release
}

const readme = "# Hello\n\nA repository of the fake forge.\n"

// seed adds a user with a public and a private repository, two issues, a release
// and a notification.
func (f *Forge) seed(u *user) {
	f.users = append(f.users, u)
	public := &repo{id: f.nextID(), owner: u, name: "hello", description: "a public repository of " + u.name}
	private := &repo{id: f.nextID(), owner: u, name: u.name + "-secret", description: "a private repository of " + u.name, private: true}
	f.repos = append(f.repos, public, private)
	first := f.addIssue(public, u, "First issue", "It does not work.")
	f.addIssue(public, u, "Second issue", "It works now.")
	f.addIssue(private, u, "Private issue", "Only "+u.name+" may read this.")
	f.attach(first, "log.txt", []byte("a line of log\n"))
	f.seedRelease(public)
	u.notices = append(u.notices, &notice{id: f.nextID(), repo: public, issue: first, unread: true})
}

func (f *Forge) routeRepos() {
	f.api("GET /user/repos", false, userRepos, func(c *call) {
		c.ok(list(c, c.reposJSON(func(r *repo) bool { return r.owner == c.user })))
	})
	f.api("POST /user/repos", false, userRepos, (*call).createRepo)
	f.api("GET /repos/search", true, repository, func(c *call) {
		q := strings.ToLower(c.r.FormValue("q"))
		found := c.reposJSON(func(r *repo) bool { return strings.Contains(strings.ToLower(r.name), q) })
		c.ok(map[string]any{"ok": true, "data": list(c, found)})
	})
	f.repoAPI("GET ", true, repository, func(c *call, r *repo) { c.ok(c.repoJSON(r)) })
	f.repoAPI("GET /branches", true, repository, func(c *call, _ *repo) {
		c.ok(list(c, []any{map[string]any{"name": "main", "commit": map[string]any{"id": strings.Repeat("0", 40), "timestamp": seedTime}}}))
	})
	f.repoAPI("GET /contents/{path...}", true, repository, (*call).contents)
	f.repoAPI("GET /raw/{path...}", true, repository, func(c *call, _ *repo) {
		if c.r.PathValue("path") != "README.md" {
			c.notFound()
			return
		}
		c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(c.w, readme)
	})
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

func (c *call) reposJSON(match func(*repo) bool) []any {
	found := []any{}
	for _, r := range c.f.repos {
		if r.visibleTo(c.user) && match(r) {
			found = append(found, c.repoJSON(r))
		}
	}
	return found
}

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
		"stars_count": 0, "forks_count": 0, "watchers_count": 1, "open_issues_count": open, "release_counter": len(r.releases),
		"default_branch": "main", "created_at": seedTime, "updated_at": seedTime, "has_issues": true, "has_releases": true,
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

func (c *call) createRepo() {
	var in struct {
		Name, Description string
		Private           bool
	}
	switch {
	case !c.body(&in):
	case in.Name == "":
		c.fail(http.StatusUnprocessableEntity, "[Name]: Required")
	case c.f.repo(c.user, c.user.name, in.Name) != nil:
		c.fail(http.StatusConflict, "The repository with the same name already exists.")
	default:
		r := &repo{id: c.f.nextID(), owner: c.user, name: in.Name, description: in.Description, private: in.Private}
		c.f.repos = append(c.f.repos, r)
		reply(c.w, http.StatusCreated, c.repoJSON(r))
	}
}

// contents serves the one file that every repository has.
func (c *call) contents(r *repo) {
	file := map[string]any{
		"name": "README.md", "path": "README.md", "sha": strings.Repeat("1", 40), "type": "file", "size": len(readme),
		"encoding": "base64", "content": base64.StdEncoding.EncodeToString([]byte(readme)),
		"url":          c.base + "/api/v1/repos/" + r.fullName() + "/contents/README.md?ref=main",
		"html_url":     c.base + "/" + r.fullName() + "/src/branch/main/README.md",
		"download_url": c.base + "/" + r.fullName() + "/raw/branch/main/README.md",
	}
	switch c.r.PathValue("path") {
	case "":
		c.ok([]any{file})
	case "README.md":
		c.ok(file)
	default:
		c.notFound()
	}
}

// notice is a notification thread.
type notice struct {
	id     int64
	repo   *repo
	issue  *issue
	unread bool
}

func (f *Forge) routeNotifications() {
	all := func(c *call) []*notice { return c.user.notices }
	f.api("GET /notifications", false, notification, func(c *call) { c.listNotices(all(c)) })
	f.api("PUT /notifications", false, notification, func(c *call) { c.readNotices(all(c)) })
	f.api("GET /notifications/new", false, notification, func(c *call) {
		c.ok(map[string]int{"new": len(slices.DeleteFunc(slices.Clone(all(c)), func(n *notice) bool { return !n.unread }))})
	})
	thread := func(c *call) *notice {
		return find(c.user.notices, func(n *notice) bool { return n.id == c.pathID("id") })
	}
	f.api("GET /notifications/threads/{id}", false, notification, func(c *call) {
		if n := thread(c); n != nil {
			c.ok(c.noticeJSON(n))
			return
		}
		c.notFound()
	})
	f.api("PATCH /notifications/threads/{id}", false, notification, func(c *call) {
		if n := thread(c); n != nil {
			n.unread = false
			reply(c.w, http.StatusResetContent, c.noticeJSON(n))
			return
		}
		c.notFound()
	})
	of := func(c *call, r *repo) []*notice {
		return slices.DeleteFunc(slices.Clone(c.user.notices), func(n *notice) bool { return n.repo != r })
	}
	f.repoAPI("GET /notifications", false, notification, func(c *call, r *repo) { c.listNotices(of(c, r)) })
	f.repoAPI("PUT /notifications", false, notification, func(c *call, r *repo) { c.readNotices(of(c, r)) })
}

func (c *call) listNotices(notices []*notice) {
	found := []any{}
	for _, n := range notices {
		if n.unread || c.r.FormValue("all") == "true" {
			found = append(found, c.noticeJSON(n))
		}
	}
	c.ok(list(c, found))
}

func (c *call) readNotices(notices []*notice) {
	read := []any{}
	for _, n := range notices {
		if n.unread {
			n.unread = false
			read = append(read, c.noticeJSON(n))
		}
	}
	reply(c.w, http.StatusResetContent, read)
}

func (c *call) noticeJSON(n *notice) map[string]any {
	url := c.base + "/api/v1/repos/" + n.repo.fullName() + "/issues/" + n.issue.indexString()
	return map[string]any{
		"id": n.id, "repository": c.repoJSON(n.repo), "unread": n.unread, "pinned": false, "updated_at": seedTime,
		"url":     c.base + "/api/v1/notifications/threads/" + itoa(n.id),
		"subject": map[string]any{"title": n.issue.title, "url": url, "html_url": url, "type": "Issue", "state": n.issue.state()},
	}
}
