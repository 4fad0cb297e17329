package authorize

import (
	"net/url"
	"slices"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

// knownDestinations are where well-known clients have the browser return to:
// hosts of https addresses, and schemes of apps.
var knownDestinations = map[string]string{
	"claude.ai": "Claude", "claude.com": "Claude",
	"chatgpt.com":    "ChatGPT",
	"www.cursor.com": "Cursor", "cursor:": "Cursor",
	"vscode.dev": "Visual Studio Code", "insiders.vscode.dev": "Visual Studio Code",
	"vscode:": "Visual Studio Code", "vscode-insiders:": "Visual Studio Code", "vscodium:": "VSCodium",
	"windsurf:": "Windsurf", "zed:": "Zed", "goose:": "Goose", "claude:": "Claude",
}

// destination describes a redirect URI for the consent page.
func destination(redirectURI string) pages.Destination {
	d := pages.Destination{Host: oauth.RedirectHost(redirectURI)}
	u, err := url.Parse(redirectURI)
	if err != nil {
		return d
	}
	switch {
	case oauth.RedirectsToLoopback(redirectURI):
		d.Kind = pages.ThisComputer
	case u.Scheme != "https":
		d.Kind, d.Owner = pages.App, knownDestinations[u.Scheme+":"]
	case u.Port() == "":
		if d.Owner = knownDestinations[strings.ToLower(u.Host)]; d.Owner != "" {
			d.Kind = pages.KnownSite
		}
	}
	return d
}

// parts says in people's words what Forgejo's scope categories are about.
var parts = []struct{ category, words string }{
	{"repository", "Repositories: code, pull requests, releases, wikis"},
	{"issue", "Issues, labels, milestones"},
	{"organization", "Organizations and teams"},
	{"notification", "Notifications"},
	{"user", "Your account's details"},
	{"package", "Packages"},
	{"misc", "Information about the server"},
	{"activitypub", "Federation"},
	{"admin", "Administration of the whole server"},
}

// permissions says what the operator's scopes let any client read or change.
func permissions(scope string) (list []pages.Part) {
	read, write := forgejo.Categories(scope)
	for _, p := range parts {
		if slices.Contains(read, p.category) {
			list = append(list, pages.Part{Name: p.words, Write: slices.Contains(write, p.category)})
		}
	}
	return list
}
