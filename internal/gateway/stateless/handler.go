package stateless

import (
	"context"
	"fmt"
	"net/http"

	"github.com/fjmcp/fjmcp-broker/internal/gateway/call"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
)

// Handler serves clients that keep no session.
type Handler struct {
	*call.Exchanges
	tools  toolParams
	parked *parking
}

// New returns a Handler. The keys are for requestState.
func New(xs *call.Exchanges, keys *seal.Keyring) *Handler {
	return &Handler{Exchanges: xs, parked: newParking(keys, func(p *parked) { p.x.Cancel(context.Background(), call.OutcomeUnanswered) })}
}

// Post takes one message that names no session.
func (h *Handler) Post(r *http.Request, access model.Access, m mcp.Message) (call.Answer, error) {
	q := &request{h: h, r: r, access: access, Message: m}
	switch {
	case m.Kind == mcp.Notification: // there is nothing it could be about
		return call.Answer{Status: http.StatusAccepted}, nil
	case m.Kind == mcp.Response:
		return call.Answer{}, relay.ErrNoQuestion
	case Modern(r, m):
		return q.serveModern()
	}
	return q.serveLegacy()
}

// Modern reports whether a request that names no session is of revision
// 2026-07-28, or of one that only a later broker knows: by its _meta, or by its
// header, which initialize may bear as well.
func Modern(r *http.Request, m mcp.Message) bool {
	return mcp.Stateless(m.ParamString("_meta", mcp.MetaProtocolVersion)) ||
		mcp.Stateless(r.Header.Get(mcp.HeaderProtocolVersion)) && m.Method != mcp.MethodInitialize
}

// The faults of requests of 2026-07-28.

func invalid(err error) error {
	return call.NewFault(http.StatusBadRequest, mcp.CodeInvalidParams, err.Error())
}

func mismatch(err error) error {
	return call.NewFault(http.StatusBadRequest, mcp.CodeHeaderMismatch, err.Error())
}

func notFound(method string) error {
	return call.NewFault(http.StatusNotFound, mcp.CodeMethodNotFound, fmt.Sprintf("method %q is not of revision %s", method, mcp.Version20260728))
}

func unsupported(version string) error {
	f := call.NewFault(http.StatusBadRequest, mcp.CodeUnsupportedVersion, "unsupported protocol version")
	f.Data = struct {
		Supported []string `json:"supported"`
		Requested string   `json:"requested"`
	}{mcp.Supported, version}
	return f
}

func incapable(method string, needs mcp.ClientCapabilities) error {
	f := call.NewFault(http.StatusBadRequest, mcp.CodeMissingCapability, "this needs a capability that the client does not declare: "+method)
	f.Data = struct {
		Required mcp.ClientCapabilities `json:"requiredCapabilities"`
	}{needs}
	return f
}
