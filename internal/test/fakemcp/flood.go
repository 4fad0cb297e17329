package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type floodRequest struct {
	What  string `json:"what" jsonschema:"progress, log, rubbish or result"`
	Lines int    `json:"lines,omitempty"`
	Bytes int    `json:"bytes" jsonschema:"of a line, or of the result"`
}

// addFloodTools adds tools that say too much, or nothing.
func addFloodTools(s *mcp.Server) {
	add(s, "flood", "Write many lines before the answer, or a long answer", flood)
	add(s, "never", "Never answer, not even when it is cancelled",
		func(context.Context, *mcp.CallToolRequest, struct {
			Padding string `json:"padding,omitempty"`
		}) (string, error) {
			select {}
		})
}

func flood(ctx context.Context, r *mcp.CallToolRequest, in floodRequest) (string, error) {
	text := strings.Repeat("x", in.Bytes)
	defer fmt.Fprintln(os.Stderr, "flooded with", in.What)
	switch in.What {
	case "result":
		return text, nil
	case "progress":
		for i := range in.Lines {
			err := r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{
				ProgressToken: r.Params.GetProgressToken(), Progress: float64(i + 1), Total: float64(in.Lines), Message: text,
			})
			if err != nil {
				return "", err
			}
		}
	case "log":
		return "flooded", lines(in.Lines, fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":%q}}`, text))
	case "rubbish":
		return "flooded", lines(in.Lines, []byte(text))
	default:
		return "", fmt.Errorf("cannot flood with %q", in.What)
	}
	return "flooded", nil
}

// lines writes one line many times, past the SDK, which would drop log messages
// that its client did not ask for. Short ones do not mix with the SDK's.
func lines(n int, line []byte) error {
	line = append(bytes.Clone(line), '\n')
	for range n {
		if _, err := os.Stdout.Write(line); err != nil {
			return err
		}
	}
	return nil
}
