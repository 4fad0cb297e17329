package stateless

import (
	"maps"
	"sync"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/session"
)

// toolParams remembers which arguments clients repeat in headers, by each session's
// last tools/list. The zero value is empty.
type toolParams struct {
	mu sync.Mutex
	by map[*session.Session]map[string][]headerParam
}

// Of returns what the headers of a request have to repeat.
func (t *toolParams) Of(s *session.Session, m mcp.Message) []headerParam {
	if m.Method != mcp.MethodToolsCall {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.by[s][m.ParamString("name")]
}

// Remember takes the answer to a tools/list: instead of what was, unless it is a
// further page of the same list. It is forgotten when done is closed, with the session.
func (t *toolParams) Remember(s *session.Session, done <-chan struct{}, list, answer mcp.Message) {
	if answer.IsError() {
		return
	}
	found := headerParams(answer.Result())
	t.mu.Lock()
	defer t.mu.Unlock()
	known, ok := t.by[s]
	switch {
	case !ok && len(found) == 0: // no tool of most backends has any
		return
	case !ok:
		if t.by == nil {
			t.by = map[*session.Session]map[string][]headerParam{}
		}
		go t.forget(s, done)
	case list.Param("cursor") != nil: // what was read before is not changed, since others read it
		all := maps.Clone(known)
		maps.Copy(all, found)
		found = all
	}
	t.by[s] = found
}

func (t *toolParams) forget(s *session.Session, done <-chan struct{}) {
	<-done
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.by, s)
}
