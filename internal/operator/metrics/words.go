package metrics

import (
	"sync"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
)

// other is what is counted of values that are not known.
const other = "other"

// words are the values of a label.
type words map[string]bool

func newWords(all ...string) words {
	w := words{}
	for _, word := range all {
		w[word] = true
	}
	return w
}

func (w words) of(value string) string {
	if w[value] {
		return value
	}
	return other
}

// with adds more.
func (w words) with(more words) words {
	all := words{}
	for _, from := range []words{w, more} {
		for word := range from {
			all[word] = true
		}
	}
	return all
}

// What docs/audit.md lists as outcomes, and that of a call which its user's limit refused.
// A session's own words are among them, which code in its sandbox could choose.
var (
	failureReasons = newWords("backend_missing", "backend_not_executable", "backend_too_old", "forge_unreachable", "token_refused",
		"crashed", "internal", "timeout", "launcher", "protocol", "error", "crash_loop")
	callOutcomes = newWords("ok", "error", "left", "timeout", "cancelled", "incapable", "unanswered", "read_only", "hidden", "policy", "denied_path",
		"denied_request", "token_leaked", "failed", "rate_limited").with(failureReasons)
	loginOutcomes = newWords("ok", "down", "grant_dead", "misconfigured", "suspended", "blocked", "revoked", "scope_too_broad", "scope_too_narrow",
		"denied", "other_browser", "policy", "not_stored", "too_often", "error") // of refreshes, too
	stopReasons = newWords("deleted", "max_age", "revoked", "suspended", "blocked", "operator", "dormant", "abandoned")
)

var (
	limits = wordsOf(ratelimit.Rules, func(r ratelimit.Rule) string { return r.Name }).with(newWords("calls"))
	kinds  = wordsOf(audit.Kinds(), func(k audit.Kind) string { return string(k) })
	// tools are many, and a broker without metrics needs none of them.
	tools = sync.OnceValue(func() words {
		return wordsOf(forgeapi.AllTools(), func(t forgeapi.Tool) string { return t.Name })
	})
)

func wordsOf[T any](all []T, word func(T) string) words {
	w := words{}
	for _, v := range all {
		w[word(v)] = true
	}
	return w
}
