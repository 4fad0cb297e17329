package fakeforge

import (
	"cmp"
	"net/http"
	"strconv"
	"time"
)

type issue struct {
	id     int64
	index  int
	repo   *repo
	poster *user
	title  string
	text   string
	closed bool
	made   time.Time
}

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
	f.repoAPI("GET /issues", true, issues, (*call).listIssues)
	f.repoAPI("POST /issues", false, issues, (*call).createIssue)
	f.issueAPI("GET /issues/{index}", true, func(c *call, i *issue) { c.ok(c.issueJSON(i)) })
	f.issueAPI("PATCH /issues/{index}", false, (*call).editIssue)
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
		"user": c.userJSON(i.poster), "title": i.title, "body": i.text, "labels": []any{}, "assets": []any{},
		"state": i.state(), "comments": 0, "created_at": i.made, "updated_at": i.made, "is_locked": false,
		"repository": map[string]any{"id": i.repo.id, "name": i.repo.name, "owner": i.repo.owner.name, "full_name": i.repo.fullName()},
	}
}

// listIssues lists those of r that are in the request's state.
func (c *call) listIssues(r *repo) {
	state := cmp.Or(c.r.FormValue("state"), "open")
	found := []any{}
	for _, i := range r.issues {
		if state == "all" || i.state() == state {
			found = append(found, c.issueJSON(i))
		}
	}
	c.ok(list(c, found))
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
