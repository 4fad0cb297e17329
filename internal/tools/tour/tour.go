// Package tour walks one login and one tool call and prints each step.
package tour

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

// Guide prints numbered steps.
type Guide struct {
	Out  io.Writer
	step int
}

// Step prints the next step.
func (g *Guide) Step(format string, args ...any) {
	g.step++
	fmt.Fprintf(g.Out, "%2d. %s\n", g.step, fmt.Sprintf(format, args...))
}

// Walk connects a client that knows only mcpURL, logs user in, lists the tools
// and calls one. The caller closes the client.
func (g *Guide) Walk(ctx context.Context, mcpURL, user, password string, transport http.RoundTripper) (*loginclient.Client, error) {
	steps := func(s string) { g.Step("%s", s) }
	browser := loginclient.NewBrowser(transport, user, password)
	browser.Steps = steps
	client, err := loginclient.Connect(ctx, loginclient.Config{MCPURL: mcpURL, Name: "fjmcp tour", Transport: transport, Browser: browser, Steps: steps})
	if err != nil {
		return nil, err
	}
	info := client.InitializeResult()
	g.Step("session open: %s %s, protocol %s", info.ServerInfo.Name, info.ServerInfo.Version, info.ProtocolVersion)
	if err := g.call(ctx, client, user); err != nil {
		client.Close()
		return nil, err
	}
	return client, nil
}

func (g *Guide) call(ctx context.Context, client *loginclient.Client, user string) error {
	n, err := countTools(ctx, client)
	if err != nil {
		return err
	}
	g.Step("tools/list: %d tools", n)
	const tool = "get_my_user_info"
	result, err := client.CallTool(ctx, &mcp.CallToolParams{Name: tool})
	if err != nil {
		return fmt.Errorf("cannot call %s: %w", tool, err)
	}
	text := resultText(result)
	if result.IsError || !strings.Contains(text, user) {
		return fmt.Errorf("%s did not answer as %s: %s", tool, user, text)
	}
	g.Step("tools/call %s: %s", tool, excerpt(text))
	return nil
}

func countTools(ctx context.Context, client *loginclient.Client) (int, error) {
	n := 0
	for _, err := range client.Tools(ctx, nil) {
		if err != nil {
			return 0, fmt.Errorf("cannot list the tools: %w", err)
		}
		n++
	}
	return n, nil
}

func resultText(r *mcp.CallToolResult) string {
	var b strings.Builder
	for _, c := range r.Content {
		if t, ok := c.(*mcp.TextContent); ok {
			b.WriteString(t.Text)
		}
	}
	return b.String()
}

func excerpt(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 120 {
		s = s[:117] + "..."
	}
	return s
}
