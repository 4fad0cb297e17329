package era

import (
	"maps"
	"sync"

	"github.com/fjmcp/fjmcp-broker/internal/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/mirror"
	"github.com/fjmcp/fjmcp-broker/internal/session"
)

// tools remembers which arguments clients repeat in headers, by each session's
// last tools/list. Its zero value is empty.
type tools struct {
	mu sync.Mutex
	by map[*session.Session]map[string][]mirror.Param
}

// of returns what the headers of a request have to repeat.
func (t *tools) of(s *session.Session, m mcp.Message) []mirror.Param {
	if m.Method != mcp.MethodToolsCall {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.by[s][m.ParamString("name")]
}

// remember takes the answer to tools/list: instead of what was, unless it is a
// further page of the same list.
func (t *tools) remember(s *session.Session, list, answer mcp.Message) {
	if answer.IsError() {
		return
	}
	found := mirror.Params(answer.Result())
	t.mu.Lock()
	defer t.mu.Unlock()
	known, ok := t.by[s]
	switch {
	case !ok && len(found) == 0: // no tool of most backends has any
		return
	case !ok:
		if t.by == nil {
			t.by = map[*session.Session]map[string][]mirror.Param{}
		}
		go t.forget(s)
	case list.Param("cursor") != nil:
		found = merged(known, found)
	}
	t.by[s] = found
}

func merged(known, found map[string][]mirror.Param) map[string][]mirror.Param {
	all := maps.Clone(known)
	maps.Copy(all, found)
	return all
}

// forget ends with the session.
func (t *tools) forget(s *session.Session) {
	<-s.Done()
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.by, s)
}
