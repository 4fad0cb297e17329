package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

// visitor is who walks.
var visitor = fakeforge.DefaultUsers[0]

// say prints the next step.
func (t *try) say(format string, args ...any) {
	t.step++
	fmt.Printf("%2d. %s\n", t.step, fmt.Sprintf(format, args...))
}

// walk connects a client that knows only mcpURL, logs the visitor in, lists the tools
// and calls one. The caller closes the client.
func (t *try) walk(ctx context.Context, mcpURL string, transport http.RoundTripper) (*loginclient.Client, error) {
	steps := func(s string) { t.say("%s", s) }
	browser := loginclient.NewBrowser(transport, visitor.Name, visitor.Password)
	browser.Steps = steps
	client, err := loginclient.Connect(ctx, loginclient.Config{MCPURL: mcpURL, Name: "fjmcp tour", Transport: transport, Browser: browser, Steps: steps})
	if err != nil {
		return nil, err
	}
	info := client.InitializeResult()
	t.say("session open: %s %s, protocol %s", info.ServerInfo.Name, info.ServerInfo.Version, info.ProtocolVersion)
	if err := t.call(ctx, client); err != nil {
		client.Close()
		return nil, err
	}
	return client, nil
}

func (t *try) call(ctx context.Context, client *loginclient.Client) error {
	n := 0
	for _, err := range client.Tools(ctx, nil) {
		if err != nil {
			return fmt.Errorf("cannot list the tools: %w", err)
		}
		n++
	}
	t.say("tools/list: %d tools", n)
	const tool = "get_my_user_info"
	result, err := client.CallTool(ctx, &mcp.CallToolParams{Name: tool})
	if err != nil {
		return fmt.Errorf("cannot call %s: %w", tool, err)
	}
	var text string
	for _, c := range result.Content {
		if c, ok := c.(*mcp.TextContent); ok {
			text += c.Text
		}
	}
	if result.IsError || !strings.Contains(text, visitor.Name) {
		return fmt.Errorf("%s did not answer as %s: %s", tool, visitor.Name, text)
	}
	t.say("tools/call %s: %.120s", tool, strings.Join(strings.Fields(text), " "))
	return nil
}
