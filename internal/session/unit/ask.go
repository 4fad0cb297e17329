package unit

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

// ErrRefused: the backend answered a request of the broker's own with an error.
var ErrRefused = errors.New("the backend refused")

// Ask makes a request of the broker's own. Errors: ErrRefused, relay.ErrClosed,
// or ctx's, upon which the backend is told to forget it.
func (u *Unit) Ask(ctx context.Context, method string, params any) error {
	answer, err := u.Inquire(ctx, method, params)
	if err == nil && answer.IsError() {
		return ErrRefused
	}
	return err
}

// Inquire is Ask that returns the answer, whatever it says.
func (u *Unit) Inquire(ctx context.Context, method string, params any) (mcp.Message, error) {
	return u.ask(ctx, request(method, params))
}

// ask sends a request and returns the response.
func (u *Unit) ask(ctx context.Context, request mcp.Message) (mcp.Message, error) {
	call, err := u.relay.Start(ctx, request)
	if err != nil {
		return mcp.Message{}, err
	}
	for {
		e, err := call.Next(ctx)
		if err != nil {
			call.Abandon("the broker no longer waits for it")
			return mcp.Message{}, err
		}
		if e.Final {
			return mcp.Parse(e.Raw)
		}
	}
}

// request is a message of the broker's own, of params that can be encoded. The relay
// replaces its id.
func request(method string, params any) mcp.Message {
	raw, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": "fjmcp", "method": method, "params": params})
	m, _ := mcp.Parse(raw)
	return m
}
