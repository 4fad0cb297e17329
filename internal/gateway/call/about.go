package call

import (
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/gateway/view"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp/rawjson"
)

// kinds are the methods that are audited: those that use something, which they name.
var kinds = map[string]audit.Kind{
	mcp.MethodToolsCall:     audit.ToolCall,
	mcp.MethodResourcesRead: audit.ResourceRead,
	mcp.MethodPromptsGet:    audit.PromptGet,
}

// about is what the audit says of a request besides who made it: names and sizes, of
// arguments nothing but a repository and a number; and what the client may see of the
// result. It is JSON for the process that continues with the call.
type about struct {
	Tool, Prompt string
	Resource     string // what kind of resource is read
	Repo         string // owner/name that the arguments name
	Issue        string // number of the issue or pull request that they name
	Arguments    int    // their bytes
	Trace        string // W3C traceparent

	Rule string // of the policy, that refuses the request

	Filter *view.Filter `json:",omitempty"` // of a request for a list
}

func newAbout(h http.Header, m mcp.Message) (a about) {
	arguments := m.Param("arguments")
	switch m.Method {
	case mcp.MethodToolsCall:
		a.Tool = m.ParamString("name")
	case mcp.MethodPromptsGet:
		a.Prompt = m.ParamString("name")
	case mcp.MethodResourcesRead:
		arguments = m.Param("uri")
		a.readURI(m.ParamString("uri"))
	default:
		return a
	}
	a.Arguments = len(arguments)
	a.readArguments(arguments)
	a.Trace = trace(h, m)
	return a
}

// readArguments looks for what forgejo-mcp's tools call a repository and an issue.
func (a *about) readArguments(object json.RawMessage) {
	var owner, org, user, repo string
	w, ok := rawjson.Walk(object, 0)
	for ok && w.Next() {
		raw := w.Value.Of(object)
		switch string(rawjson.UnquoteKey(w.Key)) {
		case "owner":
			owner = text(raw)
		case "org":
			org = text(raw)
		case "user":
			user = text(raw)
		case "repo":
			repo = text(raw)
		case "index":
			a.Issue = number(strings.Trim(string(raw), `"`))
		}
	}
	for _, who := range []string{owner, org, user} {
		if who != "" && repo != "" {
			a.Repo = forgeapi.Repo(who, repo)
			return
		}
	}
}

func text(raw json.RawMessage) (s string) {
	_ = json.Unmarshal(raw, &s) // what is not a string is no name
	return s
}

// number is an integer from 1 on as it is written in JSON, "" for anything else.
func number(s string) string {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f < 1 || f > 1<<53 || f != math.Trunc(f) {
		return ""
	}
	return strconv.FormatInt(int64(f), 10)
}

var uriWord = regexp.MustCompile(`^[a-z_]{1,32}$`)

// readURI reads the URI of a resource. Those of forgejo-mcp are
// forgejo://repo/{owner}/{repo}/{kind}/{value}/{kind}/{value} and forgejo://{kind}/{value}/…:
// the kinds are kept, as in forgejo:repo/issue/comments. Of any other it is the scheme.
func (a *about) readURI(uri string) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme == "" {
		return
	}
	a.Resource = u.Scheme + ":"
	if u.Scheme != "forgejo" || !uriWord.MatchString(u.Host) {
		return
	}
	a.Resource += u.Host
	path := append(strings.Split(strings.TrimPrefix(u.EscapedPath(), "/"), "/"), "", "", "")
	rest := path[1:]
	if u.Host == "repo" {
		owner, _ := url.PathUnescape(path[0])
		repo, _ := url.PathUnescape(path[1])
		a.Repo, rest = forgeapi.Repo(owner, repo), path[2:]
		if rest[0] == "issue" || rest[0] == "pr" {
			a.Issue = number(rest[1])
		}
	}
	for i := 0; i < len(rest) && uriWord.MatchString(rest[i]); i += 2 {
		a.Resource += "/" + rest[i]
	}
}

// trace is the traceparent in _meta, or of the HTTP header, "" without a valid one.
func trace(h http.Header, m mcp.Message) string {
	if t := traceparent(m.ParamString("_meta", "traceparent")); t != "" {
		return t
	}
	if all := h.Values("Traceparent"); len(all) == 1 {
		return traceparent(all[0])
	}
	return ""
}

var tracePattern = regexp.MustCompile(`^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$`)

// traceparent is what version 00 knows of a value (W3C Trace Context, §3.2); "" for one
// that is not valid.
func traceparent(value string) string {
	if value == "" {
		return ""
	}
	m := tracePattern.FindStringSubmatch(value)
	if m == nil || m[1] == "ff" || m[1] == "00" && m[4] != "" || strings.Trim(m[2], "0") == "" || strings.Trim(m[3], "0") == "" {
		return ""
	}
	return strings.TrimSuffix(value, m[4])
}
