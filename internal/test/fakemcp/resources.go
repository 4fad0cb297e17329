package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// addForgeResources adds resource templates that forgejo-mcp has under the same URIs, and a
// prompt, of which it has none.
func addForgeResources(s *mcp.Server, f *forge) {
	read := func(ctx context.Context, r *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		text, err := f.call(ctx, http.MethodGet, "/repos/"+strings.TrimPrefix(r.Params.URI, "forgejo://repo/"), nil)
		if err != nil {
			return nil, err
		}
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: r.Params.URI, MIMEType: "application/json", Text: text}}}, nil
	}
	s.AddResourceTemplate(&mcp.ResourceTemplate{Name: "Forgejo Issue List", URITemplate: "forgejo://repo/{owner}/{repo}/issues{?state,labels,page,limit}", MIMEType: "application/json"}, read)
	s.AddResourceTemplate(&mcp.ResourceTemplate{Name: "Forgejo Repository", URITemplate: "forgejo://repo/{owner}/{repo}", MIMEType: "application/json"}, read)
	s.AddPrompt(&mcp.Prompt{Name: "triage", Description: "Sort new issues"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: "Sort the new issues."}}}}, nil
	})
}

// complete completes each argument with the same two words.
func complete(context.Context, *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
	return &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{Values: []string{"alice", "bob"}}}, nil
}

// addHearing adds a tool that tells all that this process was asked.
func addHearing(s *mcp.Server) {
	var mu sync.Mutex
	var heard []string
	s.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, r mcp.Request) (mcp.Result, error) {
			params, err := json.Marshal(r.GetParams())
			if err != nil {
				return nil, err
			}
			mu.Lock()
			heard = append(heard, method+" "+string(params))
			mu.Unlock()
			return next(ctx, method, r)
		}
	})
	add(s, "heard", "Tell what this process was asked, a line each", func(context.Context, none) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(heard, "\n"), nil
	})
}
