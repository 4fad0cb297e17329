package relay

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/fjmcp/fjmcp-broker/internal/mcp"
)

// read takes the child's lines until it closes its end.
func (r *Relay) read() {
	defer r.Close()
	in := bufio.NewReaderSize(r.conn, 64<<10)
	for {
		line, err := r.readLine(in)
		if len(bytes.TrimSpace(line)) > 0 {
			r.take(line)
		}
		if err != nil {
			return
		}
	}
}

// readLine returns a line in memory of its own. A line over the limit is
// skipped and logged.
func (r *Relay) readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	skipped := 0
	for {
		part, err := in.ReadSlice('\n')
		if skipped > 0 || len(line)+len(part) > r.maxLine {
			skipped += len(line) + len(part)
			line = nil
		} else {
			line = append(line, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if skipped > 0 {
			r.log.Warn("backend wrote a line over the limit; skipped it", "bytes", skipped, "limit", r.maxLine)
		}
		return line, err
	}
}

func (r *Relay) take(line []byte) {
	m, err := mcp.Parse(bytes.TrimRight(line, "\r\n"))
	if err != nil {
		r.log.Warn("backend wrote something that is not a JSON-RPC message; skipped it", "bytes", len(line), "error", err)
		return
	}
	switch m.Kind {
	case mcp.Response:
		r.takeResponse(m)
	case mcp.Notification:
		r.takeNotification(m)
	case mcp.Request:
		r.takeQuestion(m)
	}
}

func (r *Relay) takeResponse(m mcp.Message) {
	c := r.byID(m.ID())
	if c == nil {
		if n, err := strconv.ParseUint(string(m.ID()), 10, 64); err == nil {
			r.answered(n)
		}
		r.log.Debug("backend answered a call that is not in flight", "id", string(m.ID()))
		return
	}
	r.remove(c)
	c.finish(m.WithID(c.clientID))
}

// takeNotification routes what the child says beside its answers. Progress names
// its call. A log message belongs to the call in flight when there is just one.
// The rest is about no call.
func (r *Relay) takeNotification(m mcp.Message) {
	switch m.Method {
	case mcp.MethodProgress:
		if c := r.byID(m.Param("progressToken")); c != nil && c.progressToken != nil {
			c.offer(m.WithParam(c.progressToken, "progressToken").Raw)
		}
		return
	case mcp.MethodLog:
		if c := r.only(); c != nil {
			c.offer(m.Raw)
			return
		}
	}
	r.other(m.Raw)
}

// takeQuestion passes the child's own request to the client of the one call in
// flight, or beside all calls when there is none, under an id that no client can
// mistake for its own. When nobody can be asked the child is told at once, so
// that it does not wait for ever.
func (r *Relay) takeQuestion(m mcp.Message) {
	if r.ask(m) {
		return
	}
	refusal := mcp.ErrorResponse(m.ID(), mcp.CodeMethodNotFound, "no client can be asked now: "+m.Method)
	select { // never wait for a child that does not read while it waits for us
	case r.out <- mcp.Line(refusal):
	default:
		r.log.Warn("backend does not read its input; dropped the answer to its request", "method", m.Method)
	}
}

// ask reports whether the question reached a stream.
func (r *Relay) ask(m mcp.Message) bool {
	c := r.only()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.asked) >= r.maxCalls || c == nil && len(r.calls) > 0 {
		return false
	}
	r.next++
	ours := "fjmcp-" + strconv.FormatUint(r.next, 10)
	raw := m.WithID(json.RawMessage(strconv.Quote(ours)))
	if c != nil && !c.offer(raw) || c == nil && !r.other(raw) {
		return false
	}
	r.asked[ours] = question{id: m.ID(), call: c}
	return true
}

// byID finds a call by the id we gave the child.
func (r *Relay) byID(id json.RawMessage) *Call {
	n, err := strconv.ParseUint(string(id), 10, 64)
	if err != nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls[n]
}
