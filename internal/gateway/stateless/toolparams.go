package stateless

import (
	"maps"
	"sync"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

// toolParams remembers which arguments clients repeat in headers, by each session's
// last tools/list. K names a session. The zero value is empty.
type toolParams[K comparable] struct {
	mu sync.Mutex
	by map[K]map[string][]headerParam
}

// Of returns what the headers of a request have to repeat.
func (t *toolParams[K]) Of(session K, m mcp.Message) []headerParam {
	if m.Method != mcp.MethodToolsCall {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.by[session][m.ParamString("name")]
}

// Remember takes the answer to a tools/list: instead of what was, unless it is a
// further page of the same list. It is forgotten when the session is done.
func (t *toolParams[K]) Remember(session K, done <-chan struct{}, list, answer mcp.Message) {
	if answer.IsError() {
		return
	}
	found := headerParams(answer.Result())
	t.mu.Lock()
	defer t.mu.Unlock()
	known, ok := t.by[session]
	switch {
	case !ok && len(found) == 0: // no tool of most backends has any
		return
	case !ok:
		if t.by == nil {
			t.by = map[K]map[string][]headerParam{}
		}
		go t.forget(session, done)
	case list.Param("cursor") != nil:
		found = merged(known, found)
	}
	t.by[session] = found
}

func merged(known, found map[string][]headerParam) map[string][]headerParam {
	all := maps.Clone(known)
	maps.Copy(all, found)
	return all
}

// forget ends with the session.
func (t *toolParams[K]) forget(session K, done <-chan struct{}) {
	<-done
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.by, session)
}
