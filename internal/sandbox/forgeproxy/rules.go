package forgeproxy

import (
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
)

// maxDiscard bounds in bytes what is read of a refused request's body. A client
// that is still sending when the connection closes may never see the answer.
const maxDiscard = 64 << 20

// refusal is the error of a request that is not sent to the forge, or of an answer that
// does not go to the backend. Its text is for the backend, whose own error most often
// carries it on.
type refusal struct {
	reason control.Reason
	rule   string // of the policy, "" for none
	text   string
}

func (r *refusal) Error() string { return r.text }

// Reason is what the broker knows it by.
func (r *refusal) Reason() control.Reason { return r.reason }

const nothingSent = "; nothing was sent to the forge"

var (
	errReadOnly = &refusal{reason: control.ReasonReadOnly, text: "this connection is read-only" + nothingSent}
	errClosed   = &refusal{reason: control.ReasonDeniedPath, text: "this part of the forge is closed to MCP clients, unless its operator opens it" + nothingSent}
	errLeaked   = &refusal{reason: control.ReasonTokenLeaked, text: "the forge's answer held the access token of this session, so it was cut off"}
)

// malformed refuses a request for what no client of the forge's API needs.
func malformed(what string) *refusal {
	return &refusal{reason: control.ReasonDeniedRequest, text: what + nothingSent}
}

// rules decide which of the backend's requests go to the forge.
type rules struct {
	force   atomic.Pointer[force] // nil until the broker has said something: read-only
	policy  forgeapi.Policy
	refused func(Refusal)
	touched func(repo string)
}

// now is what is in force.
func (s *rules) now() *force {
	if f := s.force.Load(); f != nil {
		return f
	}
	return new(force)
}

// admit returns why r may not be sent, and makes of it what may. path is r's below the
// forge's. A closed route and the policy are stronger reasons than the mode: more rights
// would not help.
func (s *rules) admit(r *http.Request, path string) error {
	if r.URL.Opaque != "" || r.URL.User != nil {
		return malformed("the request names a user or no path")
	}
	d, err := s.policy.Decide(r.Method, path)
	switch {
	case err != nil:
		return malformed(err.Error())
	case !d.Open:
		return errClosed
	}
	f := s.now()
	if err := f.judge(r, path, d); err != nil {
		return err
	}
	if !f.writable && writes(r) {
		return errReadOnly
	}
	if err := clean(r, d); err != nil {
		return err
	}
	if s.touched != nil && d.Repo != "" {
		s.touched(d.Repo)
	}
	return nil
}

// refuse answers as the forge answers errors (a JSON object with a message), so
// that the backend shows the message. Its beginning is unique, and reported.
func (s *rules) refuse(w http.ResponseWriter, r *http.Request, why *refusal) {
	if r.Body != nil {
		io.Copy(io.Discard, io.LimitReader(r.Body, maxDiscard))
	}
	id := s.report(why)
	status := http.StatusForbidden
	switch why.reason {
	case control.ReasonTokenLeaked, control.ReasonForgeUnreachable, control.ReasonInternal:
		status = http.StatusBadGateway
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"message": "fjmcp " + id + ": " + why.text})
}

// report returns the id under which the broker knows of a refusal.
func (s *rules) report(why *refusal) string {
	id := rand.Text()
	if s.refused != nil {
		s.refused(Refusal{ID: id, Reason: why.reason, Rule: why.rule, Text: why.text})
	}
	return id
}
