package forgeproxy

import (
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/sandbox/denypath"
)

// maxDiscard bounds in bytes what is read of a refused request's body. A client
// that is still sending when the connection closes may never see the answer.
const maxDiscard = 64 << 20

// rules decide which of the backend's requests go to the forge.
type rules struct {
	writable atomic.Bool // false until told otherwise
	denied   denypath.List
	refused  func(reason control.Reason, id string)
}

// check returns why r may not be sent, "" if it may. A denied path is the
// stronger reason: more rights would not help.
func (s *rules) check(prefix string, r *http.Request) control.Reason {
	switch {
	case s.denied.Denies(prefix, r.URL.EscapedPath()) || s.denied.Denies(prefix, r.URL.Path):
		return control.ReasonDeniedPath
	case !s.writable.Load() && r.Method != http.MethodGet && r.Method != http.MethodHead:
		return control.ReasonReadOnly
	}
	return ""
}

// Texts for the backend, whose own error most often carries them on.
var refusalText = map[control.Reason]string{
	control.ReasonReadOnly:   "this connection is read-only; nothing was sent to the forge",
	control.ReasonDeniedPath: "this part of the forge's API is closed to MCP clients; nothing was sent to the forge",
}

// refuse answers as the forge answers errors (a JSON object with a message), so
// that the backend shows the message. Its beginning is unique, and reported.
func (s *rules) refuse(w http.ResponseWriter, r *http.Request, reason control.Reason) {
	io.Copy(io.Discard, io.LimitReader(r.Body, maxDiscard))
	id := rand.Text()
	if s.refused != nil {
		s.refused(reason, id)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusForbidden)
	json.NewEncoder(w).Encode(map[string]string{"message": "fjmcp " + id + ": " + refusalText[reason]})
}
