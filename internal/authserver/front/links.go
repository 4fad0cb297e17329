package front

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
)

// Connection is what clients need to know of an MCP server to add it.
type Connection struct {
	Name  string // in clients' settings and in the names of tools: of ServerName
	Title string // for people
	URL   string // of the MCP endpoint
}

// DefaultName is a server's name in clients where the operator gave it none.
const DefaultName = "forgejo"

// maxName is in bytes. Clients put the name before that of each tool, and models take 64
// characters for both: 31 are left beside Claude Code's "mcp____".
const maxName = 26

var unnamable = regexp.MustCompile(`[^a-z0-9]+`)

// ServerName is a name that all clients take, ASCII letters, digits and single hyphens,
// made from what the operator calls the server; DefaultName if nothing is left of that.
func ServerName(site string) string {
	name := strings.Trim(unnamable.ReplaceAllString(strings.ToLower(site), "-"), "-")
	if len(name) > maxName {
		name = strings.Trim(name[:maxName], "-")
	}
	if name == "" {
		return DefaultName
	}
	return name
}

// remote is an MCP server as clients write it in their settings.
type remote struct {
	Name string `json:"name,omitempty"`
	Type string `json:"type,omitempty"`
	URL  string `json:"url"`
}

// json can be decoded from percent-encoding once more than it was encoded and stays the
// same, which is what Visual Studio Code does.
func (r remote) json() []byte {
	b, _ := json.Marshal(r) // strings alone
	return []byte(strings.ReplaceAll(string(b), "%", `\u0025`))
}

// escape is JavaScript's encodeURIComponent, which those who document these links use: a
// space is no plus sign.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// Links are the links that have a client offer its user to add the server, in the form that
// the client's makers document; docs/clients.md says where.
func (c Connection) Links() []pages.Action {
	code := "mcp/install?" + escape(string(remote{c.Name, "http", c.URL}.json()))
	named := "name=" + escape(c.Name) + "&config=" + escape(base64.StdEncoding.EncodeToString(remote{URL: c.URL}.json()))
	goose := "url=" + escape(c.URL) + "&type=streamable_http&id=" + escape(c.Name) + "&name=" + escape(c.Name) +
		"&description=" + escape("Forgejo: "+c.Title) + "&timeout=300"
	list := []pages.Action{
		pages.Link("VS Code", "vscode:"+code),
		pages.Link("VS Code Insiders", "vscode-insiders:"+code),
		pages.Link("Cursor", "cursor://anysphere.cursor-deeplink/mcp/install?"+named),
		pages.Link("LM Studio", "lmstudio://add_mcp?"+named),
		pages.Link("Goose", "goose://extension?"+goose),
	}
	if strings.HasPrefix(c.URL, "https:") { // Claude's own servers have to reach it
		list = append(list, pages.Link("Claude", "https://claude.ai/customize/connectors?modal=add-custom-connector&connectorName="+
			escape(c.Title)+"&connectorUrl="+escape(c.URL)))
	}
	return list
}

// Commands add the server to clients that run in a terminal.
func (c Connection) Commands() []pages.Command {
	url := quote(c.URL)
	return []pages.Command{
		{Client: "Claude Code", Line: "claude mcp add --scope user --transport http " + c.Name + " " + url, Then: "/mcp"},
		{Client: "Codex", Line: "codex mcp add " + c.Name + " --url " + url},
		{Client: "Gemini CLI", Line: "gemini mcp add --scope user --transport http " + c.Name + " " + url, Then: "/mcp auth " + c.Name},
	}
}

var plain = regexp.MustCompile(`^[A-Za-z0-9._~/:@%+=,-]+$`)

// quote makes one word of s for a POSIX shell.
func quote(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
