package relay

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

// handleMalformed takes what is not a message.
func (r *Relay) handleMalformed(raw []byte, err error) {
	r.faults.Note("backend wrote something that is not a JSON-RPC message; skipped it", "bytes", len(raw), "error", err)
	var about mcp.Outline
	_, _ = about.Write(raw)
	why := err.Error()
	if about.TooDeep() {
		why = "it nests too deep"
	}
	r.tellSkipped(about, why)
}

// tooLong takes a line that was skipped.
func (r *Relay) tooLong(bytes int, about mcp.Outline) {
	r.faults.Note("backend wrote a line over the limit; skipped it", "bytes", bytes, "limit", r.cfg.MaxLine)
	r.resync = false
	r.tellSkipped(about, fmt.Sprintf("it is %d bytes long, and at most %d are passed on", bytes, r.cfg.MaxLine))
}

// tellSkipped has nobody wait for what was skipped. A response fails the call whose id
// it has; one without an id that can be read fails the only call that can be meant. A
// request is refused.
func (r *Relay) tellSkipped(about mcp.Outline, why string) {
	switch {
	case about.Response():
		id := numbered(about.ID)
		if id == 0 {
			id = r.only()
		}
		r.end(id, func(c *Call) Event {
			return Event{Raw: mcp.ErrorResponse(c.ClientID, mcp.CodeInternalError, "the backend's answer cannot be passed on: "+why), Final: true, Failed: true}
		})
	case about.Request() && json.Valid(about.ID):
		id := json.RawMessage(about.ID)
		if !utf8.Valid(id) {
			id = nil // as for one that cannot be read (JSON-RPC 2.0 §5)
		}
		r.reply(mcp.Line(mcp.ErrorResponse(id, mcp.CodeInvalidRequest, "this request cannot be passed on: "+why)), "")
	}
}

// only is the id of the one call that the child has yet to answer, 0 when there are
// several, or none.
func (r *Relay) only() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c, _ := r.onlyLocked(); c != nil && r.standing+len(r.abandoned) == 0 && !r.overflowed {
		return c.ID
	}
	return 0
}
