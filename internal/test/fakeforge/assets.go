package fakeforge

import (
	"io"
	"net/http"
	"strings"
)

// asset is an attachment of an issue or a release.
type asset struct {
	id   int64
	uuid string
	name string
	data []byte
	repo *repo
	// external, when set, is told as the download URL: a release may point
	// anywhere, and forgejo-mcp sends its token there.
	external string
	// redirect, when set, is where the download redirects to.
	redirect string
}

type release struct {
	id     int64
	tag    string
	title  string
	assets []*asset
}

func (f *Forge) newAsset(r *repo, name string, data []byte) *asset {
	a := &asset{id: f.nextID(), uuid: random(), name: name, data: data, repo: r}
	f.assets[a.uuid] = a
	return a
}

func (f *Forge) attach(i *issue, name string, data []byte) *asset {
	a := f.newAsset(i.repo, name, data)
	i.assets = append(i.assets, a)
	return a
}

// seedRelease adds a release with a file, a file whose download redirects to a
// foreign host, and an external asset.
func (f *Forge) seedRelease(r *repo) {
	file := f.newAsset(r, "hello.txt", []byte("hello from a release\n"))
	away := f.newAsset(r, "redirect.bin", nil)
	away.redirect = f.cfg.ExternalURL
	foreign := f.newAsset(r, "external.bin", nil)
	foreign.external = f.cfg.ExternalURL
	r.releases = append(r.releases, &release{id: f.nextID(), tag: "v1.0.0", title: "One", assets: []*asset{file, away, foreign}})
}

func (f *Forge) routeAssets() {
	f.issueAPI("POST /issues/{index}/assets", false, (*call).upload)
	f.issueAPI("GET /issues/{index}/assets/{id}", true, func(c *call, i *issue) { c.assetByID(i.assets) })
	f.repoAPI("GET /releases", true, repository, func(c *call, r *repo) {
		found := []any{}
		for _, rel := range r.releases {
			found = append(found, c.releaseJSON(r, rel))
		}
		c.ok(list(c, found))
	})
	f.releaseAPI("GET /releases/{id}", func(c *call, r *repo, rel *release) { c.ok(c.releaseJSON(r, rel)) })
	// releases/{id}/assets and releases/tags/{tag} cannot be told apart by
	// http.ServeMux's patterns.
	f.repoAPI("GET /releases/{id}/{part}", true, repository, (*call).releasePart)
	f.releaseAPI("GET /releases/{id}/assets/{asset}", func(c *call, _ *repo, rel *release) {
		c.r.SetPathValue("id", c.r.PathValue("asset"))
		c.assetByID(rel.assets)
	})
	f.handle("GET /attachments/{uuid}", f.download)
	f.handle("GET /{owner}/{repo}/releases/download/{tag}/{name}", f.downloadRelease)
}

// releaseAPI registers a route below a release.
func (f *Forge) releaseAPI(pattern string, run func(*call, *repo, *release)) {
	f.repoAPI(pattern, true, repository, func(c *call, r *repo) {
		if rel := r.release(c.r.PathValue("id")); rel != nil {
			run(c, r, rel)
			return
		}
		c.notFound()
	})
}

// release finds a release by its number, or the newest one as "latest".
func (r *repo) release(id string) *release {
	if id == "latest" && len(r.releases) > 0 {
		return r.releases[len(r.releases)-1]
	}
	return find(r.releases, func(rel *release) bool { return itoa(rel.id) == id })
}

func (c *call) releasePart(r *repo) {
	id, part := c.r.PathValue("id"), c.r.PathValue("part")
	tagged := find(r.releases, func(rel *release) bool { return id == "tags" && rel.tag == part })
	numbered := r.release(id)
	switch {
	case tagged != nil:
		c.ok(c.releaseJSON(r, tagged))
	case numbered != nil && part == "assets":
		c.ok(c.assetsJSON(numbered.assets))
	default:
		c.notFound()
	}
}

func (c *call) releaseJSON(r *repo, rel *release) map[string]any {
	return map[string]any{
		"id": rel.id, "tag_name": rel.tag, "target_commitish": "main", "name": rel.title, "body": "", "draft": false, "prerelease": false,
		"url": c.base + "/api/v1/repos/" + r.fullName() + "/releases/" + itoa(rel.id), "html_url": c.base + "/" + r.fullName() + "/releases/tag/" + rel.tag,
		"created_at": seedTime, "published_at": seedTime, "author": c.userJSON(r.owner), "assets": c.assetsJSON(rel.assets),
	}
}

func (c *call) assetsJSON(assets []*asset) []any {
	found := []any{}
	for _, a := range assets {
		found = append(found, c.assetJSON(a))
	}
	return found
}

func (c *call) assetJSON(a *asset) map[string]any {
	kind, url := "attachment", c.base+"/attachments/"+a.uuid
	if a.external != "" {
		kind, url = "external", a.external
	}
	return map[string]any{
		"id": a.id, "name": a.name, "size": len(a.data), "download_count": 0, "created_at": seedTime,
		"uuid": a.uuid, "browser_download_url": url, "type": kind,
	}
}

func (c *call) assetByID(assets []*asset) {
	if a := find(assets, func(a *asset) bool { return a.id == c.pathID("id") }); a != nil {
		c.ok(c.assetJSON(a))
		return
	}
	c.notFound()
}

func (c *call) upload(i *issue) {
	file, header, err := c.r.FormFile("attachment")
	if err != nil {
		c.fail(http.StatusBadRequest, "there is no file in the field attachment")
		return
	}
	defer file.Close()
	data, err := io.ReadAll(file)
	if err != nil {
		c.fail(http.StatusInternalServerError, "cannot read the file")
		return
	}
	name := c.r.FormValue("name")
	if name == "" {
		name = header.Filename
	}
	reply(c.w, http.StatusCreated, c.assetJSON(c.f.attach(i, name, data)))
}

// download serves /attachments/{uuid} to whoever may see the repository, by
// token or by the browser's session.
func (f *Forge) download(w http.ResponseWriter, r *http.Request) {
	f.serveAsset(w, r, f.assets[r.PathValue("uuid")])
}

func (f *Forge) downloadRelease(w http.ResponseWriter, r *http.Request) {
	for _, repo := range f.repos {
		if !strings.EqualFold(repo.fullName(), r.PathValue("owner")+"/"+r.PathValue("repo")) {
			continue
		}
		for _, rel := range repo.releases {
			if rel.tag == r.PathValue("tag") {
				f.serveAsset(w, r, find(rel.assets, func(a *asset) bool { return a.name == r.PathValue("name") }))
				return
			}
		}
	}
	http.NotFound(w, r)
}

func (f *Forge) serveAsset(w http.ResponseWriter, r *http.Request, a *asset) {
	switch {
	case a == nil || !a.repo.visibleTo(f.viewer(r)):
		http.NotFound(w, r)
	case a.redirect != "":
		http.Redirect(w, r, a.redirect, http.StatusSeeOther)
	default:
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(a.data)
	}
}

// viewer is who looks at a page: the token's user, else the session's, else nil.
func (f *Forge) viewer(r *http.Request) *user {
	if u, _, ok := f.bearer(authorization(r)); ok && !u.suspended {
		return u
	}
	if b := f.session(r); b != nil {
		return f.userByID(b.userID)
	}
	return nil
}
