package stateless

import "github.com/fjmcp/fjmcp-broker/internal/proto/mcp"

// needsOf tells what a client has to be capable of to be asked a question; ok is
// false for what no client can be asked.
func needsOf(question mcp.Message) (needs mcp.ClientCapabilities, ok bool) {
	has := &struct{}{}
	switch question.Method {
	case mcp.MethodRoots:
		needs.Roots = has
	case mcp.MethodSample:
		needs.Sampling = &mcp.Sampling{}
		if question.Param("tools") != nil || question.Param("toolChoice") != nil {
			needs.Sampling.Tools = has
		}
	case mcp.MethodElicit:
		needs.Elicitation = &mcp.Elicitation{Form: has}
		if question.ParamString("mode") == "url" {
			needs.Elicitation = &mcp.Elicitation{URL: has}
		}
	default:
		return needs, false
	}
	return needs, true
}

// covers reports whether a client that declares has can do what needs says.
// Elicitation without a mode means forms (2026-07-28, Elicitation, Capabilities).
func covers(has, needs mcp.ClientCapabilities) bool {
	if e := has.Elicitation; e != nil && e.Form == nil && e.URL == nil {
		has.Elicitation = &mcp.Elicitation{Form: &struct{}{}}
	}
	switch {
	case needs.Roots != nil:
		return has.Roots != nil
	case needs.Sampling != nil:
		return has.Sampling != nil && (needs.Sampling.Tools == nil || has.Sampling.Tools != nil)
	case needs.Elicitation != nil:
		return has.Elicitation != nil &&
			(needs.Elicitation.Form == nil || has.Elicitation.Form != nil) &&
			(needs.Elicitation.URL == nil || has.Elicitation.URL != nil)
	}
	return true
}
