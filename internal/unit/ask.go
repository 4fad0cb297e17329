package unit

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/fjmcp/fjmcp-broker/internal/mcp"
)

// ErrRefused: the backend answered a request of the broker's own with an error.
var ErrRefused = errors.New("the backend refused")

// Ask makes a request of the broker's own. Errors: ErrRefused, relay.ErrClosed,
// or ctx's, upon which the backend is told to forget it.
func (u *Unit) Ask(ctx context.Context, method string, params any) error {
	answer, err := u.inquire(ctx, method, params)
	if err == nil && answer.IsError() {
		return ErrRefused
	}
	return err
}

// inquire is Ask that returns the answer, whatever it says.
func (u *Unit) inquire(ctx context.Context, method string, params any) (mcp.Message, error) {
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

// request is a message of the broker's own. The relay replaces its id.
func request(method string, params any) mcp.Message {
	return message(map[string]any{"jsonrpc": "2.0", "id": "fjmcp", "method": method, "params": params})
}

func notification(method string, params any) mcp.Message {
	m := map[string]any{"jsonrpc": "2.0", "method": method}
	if params != nil {
		m["params"] = params
	}
	return message(m)
}

// message encodes what json.Marshal cannot fail on.
func message(v map[string]any) mcp.Message {
	raw, _ := json.Marshal(v)
	m, _ := mcp.Parse(raw)
	return m
}
