package call

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/gateway/view"
	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp/rawjson"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// Allow refuses a request that r brought if it uses what its connection does not see, and
// audits that. The error is a Fault; one that joins it with model.ErrInsufficientScope
// where the client has asked for reading alone, and can use this when it asks for more.
func (xs *Exchanges) Allow(r *http.Request, s *session.Session, access model.Access, m mcp.Message) error {
	f := view.For(r.Context(), access)
	u := hiddenUse(f, m)
	if u == nil {
		return nil
	}
	x := xs.request(r, s, access, m)
	x.about.Rule = u.verdict.Rule
	x.audit(r.Context(), Outcome(u.verdict.Cause))
	fault := xs.hidden(f, m, u)
	if x.mayAskForMore(Outcome(u.verdict.Cause)) {
		return errors.Join(model.ErrInsufficientScope, fault)
	}
	return fault
}

// Hides reports whether Allow refuses a request.
func Hides(r *http.Request, access model.Access, m mcp.Message) bool {
	return hiddenUse(view.For(r.Context(), access), m) != nil
}

// use is something that a request uses.
type use struct {
	kind, name string
	toolset    string // "" for none
	verdict    view.Verdict
}

// hiddenUse is the first that f hides of what a request uses, nil if there is none. A
// member that stands twice, which readers take differently, names several. Who ends a
// subscription uses nothing: it may be one to what is hidden by now.
func hiddenUse(f *view.Filter, m mcp.Message) *use {
	if f.All() {
		return nil
	}
	params := m.Params()
	switch m.Method {
	case mcp.MethodToolsCall:
		return firstHidden("tool", members(params, "name"), f.Tool)
	case mcp.MethodResourcesRead, mcp.MethodSubscribe:
		return firstHidden("resource", members(params, "uri"), f.Resource)
	case mcp.MethodPromptsGet:
		return firstHidden("prompt", members(params, "name"), f.Prompt)
	case mcp.MethodComplete:
		for _, ref := range members(params, "ref") {
			u := firstHidden("prompt", members(ref, "name"), f.Prompt)
			if u == nil {
				u = firstHidden("resource", members(ref, "uri"), f.Template)
			}
			if u != nil {
				return u
			}
		}
	}
	return nil
}

func firstHidden(kind string, names []json.RawMessage, decide func(string) view.Verdict) *use {
	for _, raw := range names {
		name := text(raw)
		if v := decide(name); v.Hidden() {
			return &use{kind, name, toolsetOf(name), v}
		}
	}
	return nil
}

func toolsetOf(name string) string {
	t, ok := forgeapi.ToolNamed(name)
	if !ok {
		t, _ = forgeapi.TemplateOf(name)
	}
	return t.Toolset
}

// members are the values in an object that some reader takes for the member of that name.
func members(object json.RawMessage, name string) (all []json.RawMessage) {
	w, ok := rawjson.Walk(object, 0)
	for ok && w.Next() {
		if strings.EqualFold(string(rawjson.UnquoteKey(w.Key)), name) {
			all = append(all, w.Value.Of(object))
		}
	}
	return all
}

// hidden words the refusal of what f hides: of a tool as a result, which models read, of
// all else as the error that the revision has for what is not there.
func (xs *Exchanges) hidden(f *view.Filter, m mcp.Message, u *use) *Fault {
	fault := &Fault{Status: http.StatusOK, Code: mcp.CodeInvalidParams, Text: xs.hiddenText(f, u)}
	fault.Result = m.Method == mcp.MethodToolsCall
	if u.kind == "resource" && m.Method != mcp.MethodComplete && !mcp.Stateless(m.ParamString("_meta", mcp.MetaProtocolVersion)) {
		fault.Code = mcp.CodeResourceNotFound
	}
	return fault
}

// maxNamed bounds what a refusal repeats of a name, in bytes.
const maxNamed = 200

// hiddenText says why, and what to do.
func (xs *Exchanges) hiddenText(f *view.Filter, u *use) string {
	name := fmt.Sprintf("%.*q", maxNamed, u.name)
	toolsets, all := strings.Join(f.View.Toolsets, ", "), xs.PublicURL.JoinPath(mcp.PathStreamable)
	switch {
	case u.verdict.Cause == view.CausePolicy:
		return policyText(u.kind, name, u.verdict.Rule)
	case u.verdict.Cause == view.CauseToolset && u.toolset == "":
		return fmt.Sprintf("This connection asks for the toolsets %s alone, by its URL or the header X-MCP-Toolsets, and the %s %s is in none. Nothing was done. To use it, connect to %s for all.",
			toolsets, u.kind, name, all)
	case u.verdict.Cause == view.CauseToolset:
		return fmt.Sprintf("This connection asks for the toolsets %s alone, by its URL or the header X-MCP-Toolsets, and the %s %s is in %s. Nothing was done. To use it, ask for that as well, or connect to %s for all.",
			toolsets, u.kind, name, u.toolset, all)
	case f.View.ReadOnly:
		return fmt.Sprintf("This connection only reads, as its URL or the header X-MCP-Readonly asks, and the %s %s may change something. Nothing was changed. To allow changes, connect to %s without that header.",
			u.kind, name, all)
	}
	return xs.refusalText(unit.Refusal{Reason: control.ReasonReadOnly})
}

// policyText words what the operator's policy refuses, by a rule or, where that is "", as
// none allows it.
func policyText(kind, name, rule string) string {
	if rule == "" {
		return fmt.Sprintf("No rule of this server's policy allows you the %s %s. Nothing was done. Its operator decides about that; ask them if you need it.", kind, name)
	}
	return fmt.Sprintf("The rule %q of this server's policy does not allow you the %s %s. Nothing was done. Its operator decides about that; ask them if you need it.", rule, kind, name)
}
