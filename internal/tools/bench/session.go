package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// target is one way to an MCP server.
type target struct {
	name string
	// open begins a session of its own and tells how long it took to the answer
	// to initialize.
	open func(context.Context) (session, time.Duration, error)
}

// once begins a session and ends it. Only the beginning counts.
func (t target) once(ctx context.Context) (time.Duration, error) {
	s, took, err := t.open(ctx)
	if err != nil {
		return 0, err
	}
	return took, s.Close()
}

// session is one MCP session. It carries one request at a time.
type session interface {
	// Call sends a request and returns the whole response and how long it took to
	// come. The bytes are good until the next Call.
	Call(request) ([]byte, time.Duration, error)
	// Close ends the session at the server too.
	Close() error
}

// request is a request but for its id.
type request struct{ method, params string }

var (
	ping       = request{"ping", "{}"}
	toolsList  = request{"tools/list", "{}"}
	smallCall  = request{"tools/call", `{"name":"get_forgejo_mcp_server_version","arguments":{}}`}
	initialize = request{"initialize", `{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"fjmcp-bench","version":"1"}}`}
)

const initialized = `{"jsonrpc":"2.0","method":"notifications/initialized"}`

// firstID makes ids that stand nowhere else in a message.
const firstID = 1_000_000_000

// append writes the request under id as one line without its end.
func (r request) append(to []byte, id int) []byte {
	return fmt.Appendf(to, `{"jsonrpc":"2.0","id":%d,"method":"%s","params":%s}`, id, r.method, r.params)
}

// answers reports whether raw is the message that answers the request of that id.
// It does not decode, which for a long message would take longer than the call.
func answers(raw []byte, id int) bool {
	return bytes.Contains(raw, fmt.Appendf(nil, `"id":%d`, id))
}

// check decodes a response and says what is wrong with it.
func check(raw []byte) error {
	var response struct {
		Result *struct {
			IsError bool
			Content json.RawMessage
		}
		Error json.RawMessage
	}
	if err := json.Unmarshal(raw, &response); err != nil {
		return fmt.Errorf("cannot read the response: %w", err)
	}
	switch {
	case response.Error != nil:
		return fmt.Errorf("the server answered with an error: %s", response.Error)
	case response.Result == nil:
		return fmt.Errorf("the response has no result: %.200s", raw)
	case response.Result.IsError:
		return fmt.Errorf("the tool failed: %s", response.Result.Content)
	}
	return nil
}

// checked makes a call and decodes its response.
func checked(s session, r request) (answer []byte, took time.Duration, err error) {
	answer, took, err = s.Call(r)
	if err == nil {
		err = check(answer)
	}
	return answer, took, err
}

// atOnce calls do for each number below n, some of them at the same time.
func atOnce(n, some int, do func(int) error) error {
	var all errgroup.Group
	all.SetLimit(some)
	for i := range n {
		all.Go(func() error { return do(i) })
	}
	return all.Wait()
}
