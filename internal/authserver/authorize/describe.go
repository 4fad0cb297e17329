package authorize

import (
	"net/url"
	"slices"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

// knownHosts are the https hosts that well-known clients have the browser return to, and
// whose they are. docs/clients.md says where each was seen.
var knownHosts = map[string]string{
	"antigravity.google": "Google Antigravity", "api.devin.ai": "Devin", "callback.mistral.ai": "Mistral", "chatgpt.com": "ChatGPT",
	"claude.ai": "Claude", "claude.com": "Claude", "grok.com": "Grok", "insiders.vscode.dev": "Visual Studio Code",
	"vscode.dev": "Visual Studio Code", "www.cursor.com": "Cursor", "www.perplexity.ai": "Perplexity",
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
		d.Kind, d.Owner = pages.App, oauth.AppOf(u.Scheme)
	case u.Port() == "":
		if d.Owner = knownHosts[strings.ToLower(u.Host)]; d.Owner != "" {
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
