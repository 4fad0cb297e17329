// Package hold makes an MCP server on stdio that speaks 2026-07-28 look like one
// that stopped at 2025-11-25. It sits on the server's stdin and stdout and changes
// what such a server would have done otherwise, nothing else:
//
//   - server/discover gets the error of a method that does not exist, and does not
//     reach the server;
//   - initialize for a later version becomes one for 2025-11-25, which is what an
//     older server would offer;
//   - what 2026-07-28 puts into requests is taken out (its _meta members,
//     inputResponses, requestState): an older server takes no notice of it, this one
//     would go by it.
//
// Package programs compiles it into the server, since a confined backend may not
// start another program.
package hold

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp/rawjson"
)

// Version is what the server is held to.
const Version = "2025-11-25"

// Stdio sits on the standard streams of this process. What reads os.Stdin and
// writes os.Stdout after it is the server.
func Stdio() error {
	stdin, toServer, err := os.Pipe()
	if err != nil {
		return err
	}
	fromServer, stdout, err := os.Pipe()
	if err != nil {
		return err
	}
	h := &holder{client: os.Stdout}
	go h.requests(os.Stdin, toServer)
	go h.answers(fromServer)
	os.Stdin, os.Stdout = stdin, stdout
	return nil
}

// holder stands between a client and a server.
type holder struct {
	mu     sync.Mutex // held for a whole line
	client io.Writer
}

// requests passes on what the client sends, until it ends.
func (h *holder) requests(client io.Reader, server io.WriteCloser) {
	defer server.Close()
	each(client, func(line []byte) error {
		m, err := mcp.Parse(line)
		switch {
		case err != nil:
			_, err = server.Write(line)
		case m.Method == mcp.MethodDiscover:
			err = h.write(fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"Method not found"}}`+"\n", m.ID()))
		default:
			_, err = server.Write(older(m))
		}
		return err
	})
}

// older is m as far as a server of Version understands it.
func older(m mcp.Message) []byte {
	if m.Method == mcp.MethodInitialize && m.ParamString("protocolVersion") > Version {
		return m.WithParam([]byte(`"`+Version+`"`), "protocolVersion").Raw
	}
	params := m.Params()
	if params == nil {
		return m.Raw
	}
	params = without(params, "inputResponses", "requestState")
	if meta := m.Param("_meta"); meta != nil {
		meta = without(meta, mcp.MetaProtocolVersion, mcp.MetaClientInfo, mcp.MetaClientCapabilities, mcp.MetaLogLevel)
		params = rawjson.With(params, rawjson.Member{Name: "_meta", Value: meta})
	}
	return m.WithParams(params)
}

func without(object json.RawMessage, names ...string) json.RawMessage {
	for _, name := range names {
		object = rawjson.Without(object, name)
	}
	return object
}

// answers passes on what the server sends.
func (h *holder) answers(server io.Reader) { each(server, h.write) }

func (h *holder) write(line []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.client.Write(line)
	return err
}

// each calls take with every line, its end included, until one of both fails.
func each(r io.Reader, take func(line []byte) error) {
	for lines := bufio.NewReader(r); ; {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 && take(line) != nil || err != nil {
			return
		}
	}
}
