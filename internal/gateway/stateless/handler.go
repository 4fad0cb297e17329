// Package stateless serves clients that keep no session: those of revision 2026-07-28,
// where every request says in its _meta what it needs to be understood, and those
// of older revisions that call a tool without having initialized. At stake is that what
// a header says, which proxies act on, is what the body has done, and that a call that
// waits for its client is given to nobody else.
//
//	request ─▶ check ─▶ shared session ─▶ call ─▶ translate ─▶ JSON or events
//
// One session per grant and mode serves them all. A backend that speaks 2026-07-28
// itself gets each request as it is. Any other is translated for: what its results
// lack is added, all else passes byte for byte.
//
// # Headers
//
// Version, method, name, and the arguments that a tool's schema marks stand in headers
// as well, and are held against the request (Streamable HTTP, Request Metadata).
//
// # Parked calls
//
//	call ── asks ──▶ parked ── retry with requestState ──▶ taken, continues
//	                    └───── nobody comes back ────────▶ expired
//
// Where a backend of an older revision asks for something only the client can give,
// the client is answered what is wanted, and comes back for the call with it and with
// the requestState it was given (Multi Round-Trip Requests). A requestState is sealed,
// names who may come back and with what request, and is good once. The call itself
// stays here, so no retry runs it again.
package stateless

import (
	"context"
	"fmt"
	"net/http"
	"slices"

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
	f.Data = map[string]any{"requiredCapabilities": needs}
	return f
}

// check holds a request of 2026-07-28 against its headers and reads its _meta. A
// revision that is not spoken here comes first, since what else it asks for cannot
// be known.
func check(header http.Header, m mcp.Message) (mcp.Meta, error) {
	version := m.ParamString("_meta", mcp.MetaProtocolVersion)
	if version != "" {
		if err := checkVersionHeader(header, version); err != nil {
			return mcp.Meta{}, mismatch(err)
		}
	} else {
		version = header.Get(mcp.HeaderProtocolVersion)
	}
	if version != mcp.Version20260728 {
		return mcp.Meta{}, unsupported(version)
	}
	if err := checkHeaders(header, m); err != nil {
		return mcp.Meta{}, mismatch(err)
	}
	meta, err := mcp.ReadMeta(m)
	if err != nil {
		return mcp.Meta{}, invalid(err)
	}
	if slices.Contains(removed, m.Method) {
		return mcp.Meta{}, notFound(m.Method)
	}
	return meta, nil
}

// removed are methods that 2026-07-28 has no more, whatever a backend makes of
// them.
var removed = []string{
	mcp.MethodInitialize, mcp.MethodPing, mcp.MethodSetLoggingLevel, mcp.MethodSubscribe, mcp.MethodUnsubscribe,
}

// methods are those of 2026-07-28 that a backend of an older revision knows under
// the same name.
var methods = []string{
	mcp.MethodToolsList, mcp.MethodToolsCall, mcp.MethodPromptsList, mcp.MethodPromptsGet, mcp.MethodResourcesList,
	mcp.MethodTemplatesList, mcp.MethodResourcesRead, mcp.MethodComplete,
}
