package fakeforge

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

type issue struct {
	id       int64
	index    int
	repo     *repo
	poster   *user
	title    string
	text     string
	closed   bool
	made     time.Time
	comments []*comment
	assets   []*asset
}

type comment struct {
	id     int64
	poster *user
	text   string
	made   time.Time
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func (i *issue) indexString() string { return strconv.Itoa(i.index) }

func (i *issue) state() string {
	if i.closed {
		return "closed"
	}
	return "open"
}

func (f *Forge) addIssue(r *repo, poster *user, title, text string) *issue {
	i := &issue{id: f.nextID(), index: len(r.issues) + 1, repo: r, poster: poster, title: title, text: text, made: f.now()}
	r.issues = append(r.issues, i)
	return i
}

func (f *Forge) routeIssues() {
	f.api("GET /repos/issues/search", true, issues, (*call).searchIssues)
	f.repoAPI("GET /issues", true, issues, (*call).listIssues)
	f.repoAPI("POST /issues", false, issues, (*call).createIssue)
	f.issueAPI("GET /issues/{index}", true, func(c *call, i *issue) { c.ok(c.issueJSON(i)) })
	f.issueAPI("PATCH /issues/{index}", false, (*call).editIssue)
	f.repoAPI("GET /labels", true, issues, func(c *call, _ *repo) { c.ok(list(c, []any{})) })
	f.repoAPI("GET /milestones", true, issues, func(c *call, _ *repo) { c.ok(list(c, []any{})) })

	// issues/{index}/comments and issues/comments/{id} cannot be told apart by
	// http.ServeMux's patterns.
	f.repoAPI("GET /issues/{a}/{b}", true, issues, (*call).issuePart)
	f.issueAPI("POST /issues/{index}/comments", false, (*call).createComment)
	f.repoAPI("PATCH /issues/comments/{id}", false, issues, (*call).editComment)
	f.repoAPI("DELETE /issues/comments/{id}", false, issues, (*call).deleteComment)
}

// issueAPI registers a route below an issue.
func (f *Forge) issueAPI(pattern string, anonymous bool, run func(*call, *issue)) {
	f.repoAPI(pattern, anonymous, issues, func(c *call, r *repo) {
		if i := r.issue(c.r.PathValue("index")); i != nil {
			run(c, i)
			return
		}
		c.notFound()
	})
}

func (r *repo) issue(index string) *issue {
	return find(r.issues, func(i *issue) bool { return i.indexString() == index })
}

func (c *call) issueJSON(i *issue) map[string]any {
	path := i.repo.fullName() + "/issues/" + i.indexString()
	return map[string]any{
		"id": i.id, "number": i.index, "url": c.base + "/api/v1/repos/" + path, "html_url": c.base + "/" + path,
		"user": c.userJSON(i.poster), "title": i.title, "body": i.text, "labels": []any{}, "assets": c.assetsJSON(i.assets),
		"state": i.state(), "comments": len(i.comments), "created_at": i.made, "updated_at": i.made, "is_locked": false,
		"repository": map[string]any{"id": i.repo.id, "name": i.repo.name, "owner": i.repo.owner.name, "full_name": i.repo.fullName()},
	}
}

func (c *call) listIssues(r *repo) { c.ok(list(c, c.wantedIssues(r))) }

func (c *call) searchIssues() {
	owner := c.r.FormValue("owner")
	found := []any{}
	for _, r := range c.f.repos {
		if r.visibleTo(c.user) && (owner == "" || strings.EqualFold(r.owner.name, owner)) {
			found = append(found, c.wantedIssues(r)...)
		}
	}
	c.ok(list(c, found))
}

// wantedIssues are those of r that fit the request's state, type and q.
func (c *call) wantedIssues(r *repo) []any {
	state := c.r.FormValue("state")
	q := strings.ToLower(c.r.FormValue("q"))
	found := []any{}
	for _, i := range r.issues {
		wanted := state == "all" || i.state() == state || state == "" && !i.closed
		if wanted && c.r.FormValue("type") != "pulls" && strings.Contains(strings.ToLower(i.title), q) {
			found = append(found, c.issueJSON(i))
		}
	}
	return found
}

func (c *call) createIssue(r *repo) {
	var in struct{ Title, Body string }
	switch {
	case !c.body(&in):
	case in.Title == "":
		c.fail(http.StatusUnprocessableEntity, "[Title]: Required")
	default:
		reply(c.w, http.StatusCreated, c.issueJSON(c.f.addIssue(r, c.user, in.Title, in.Body)))
	}
}

func (c *call) editIssue(i *issue) {
	var in struct {
		Title       string
		Body, State *string
	}
	if !c.body(&in) {
		return
	}
	if c.user != i.poster && c.user != i.repo.owner {
		c.fail(http.StatusForbidden, "user should be the poster or have write access")
		return
	}
	if in.Title != "" {
		i.title = in.Title
	}
	if in.Body != nil {
		i.text = *in.Body
	}
	if in.State != nil {
		i.closed = *in.State == "closed"
	}
	reply(c.w, http.StatusCreated, c.issueJSON(i))
}

func (c *call) issuePart(r *repo) {
	a, b := c.r.PathValue("a"), c.r.PathValue("b")
	i := r.issue(a)
	switch {
	case a == "comments":
		if i, k := r.comment(b); k != nil {
			c.ok(c.commentJSON(i, k))
			return
		}
		c.notFound()
	case i != nil && b == "comments":
		found := []any{}
		for _, k := range i.comments {
			found = append(found, c.commentJSON(i, k))
		}
		c.ok(list(c, found))
	case i != nil && b == "assets":
		c.ok(c.assetsJSON(i.assets))
	case i != nil && b == "labels":
		c.ok([]any{})
	default:
		c.notFound()
	}
}

func (r *repo) comment(id string) (*issue, *comment) {
	for _, i := range r.issues {
		if k := find(i.comments, func(k *comment) bool { return itoa(k.id) == id }); k != nil {
			return i, k
		}
	}
	return nil, nil
}

func (c *call) commentJSON(i *issue, k *comment) map[string]any {
	issueURL := c.base + "/" + i.repo.fullName() + "/issues/" + i.indexString()
	return map[string]any{
		"id": k.id, "html_url": issueURL + "#issuecomment-" + itoa(k.id), "issue_url": issueURL, "pull_request_url": "",
		"user": c.userJSON(k.poster), "body": k.text, "assets": []any{}, "created_at": k.made, "updated_at": k.made,
	}
}

func (c *call) createComment(i *issue) {
	var in struct{ Body string }
	switch {
	case !c.body(&in):
	case in.Body == "":
		c.fail(http.StatusUnprocessableEntity, "[Body]: Required")
	default:
		k := &comment{id: c.f.nextID(), poster: c.user, text: in.Body, made: c.f.now()}
		i.comments = append(i.comments, k)
		reply(c.w, http.StatusCreated, c.commentJSON(i, k))
	}
}

func (c *call) editComment(r *repo) {
	var in struct{ Body string }
	i, k := r.comment(c.r.PathValue("id"))
	switch {
	case k == nil:
		c.notFound()
	case c.user != k.poster && c.user != r.owner:
		c.fail(http.StatusForbidden, "user should be the poster or have write access")
	case c.body(&in):
		k.text = in.Body
		c.ok(c.commentJSON(i, k))
	}
}

func (c *call) deleteComment(r *repo) {
	i, k := r.comment(c.r.PathValue("id"))
	switch {
	case k == nil:
		c.notFound()
	case c.user != k.poster && c.user != r.owner:
		c.fail(http.StatusForbidden, "user should be the poster or have write access")
	default:
		kept := i.comments[:0]
		for _, other := range i.comments {
			if other != k {
				kept = append(kept, other)
			}
		}
		i.comments = kept
		c.w.WriteHeader(http.StatusNoContent)
	}
}
