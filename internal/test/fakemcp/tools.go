package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type none struct{}

type repository struct {
	Owner string `json:"owner"`
	Repo  string `json:"repo"`
}

func (r repository) issues() string {
	return "/repos/" + url.PathEscape(r.Owner) + "/" + url.PathEscape(r.Repo) + "/issues"
}

type newIssue struct {
	repository
	Title string `json:"title"`
	Body  string `json:"body,omitempty"`
	Delay int    `json:"delay_ms,omitempty" jsonschema:"how long to wait first"`
}

type pullRequest struct {
	repository
	Index int  `json:"index"`
	Later bool `json:"merge_when_checks_succeed,omitempty"`
}

func newServer(f *forge, more int) *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: name, Version: reported}, nil)
	addForgeTools(s, f)
	addOwnTools(s, f)
	addFloodTools(s)
	addMoreTools(s, more)
	return s
}

// add adds a tool that answers with do's text.
func add[In any](s *mcp.Server, name, description string, do func(context.Context, *mcp.CallToolRequest, In) (string, error)) {
	mcp.AddTool(s, &mcp.Tool{Name: name, Description: description},
		func(ctx context.Context, r *mcp.CallToolRequest, in In) (*mcp.CallToolResult, any, error) {
			text, err := do(ctx, r, in)
			if err != nil {
				return nil, nil, err
			}
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}, nil, nil
		})
}

// addForgeTools adds tools that forgejo-mcp has under the same names.
func addForgeTools(s *mcp.Server, f *forge) {
	add(s, "get_forgejo_mcp_server_version", "Get the server's version, without asking the forge",
		func(context.Context, *mcp.CallToolRequest, none) (string, error) { return reported, nil })
	add(s, "get_my_user_info", "Get the user the token belongs to",
		func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (string, error) {
			return f.json(ctx, http.MethodGet, "/user", nil)
		})
	add(s, "list_my_repos", "List the user's repositories",
		func(ctx context.Context, _ *mcp.CallToolRequest, _ none) (string, error) {
			return f.json(ctx, http.MethodGet, "/user/repos", nil)
		})
	add(s, "list_repo_issues", "List the issues of a repository",
		func(ctx context.Context, _ *mcp.CallToolRequest, in repository) (string, error) {
			return f.json(ctx, http.MethodGet, in.issues(), nil)
		})
	add(s, "create_issue", "Create an issue",
		func(ctx context.Context, _ *mcp.CallToolRequest, in newIssue) (string, error) {
			time.Sleep(time.Duration(in.Delay) * time.Millisecond)
			body := map[string]string{"title": in.Title, "body": in.Body}
			return f.json(ctx, http.MethodPost, in.issues(), body)
		})
	add(s, "merge_pull_request", "Merge a pull request",
		func(ctx context.Context, _ *mcp.CallToolRequest, in pullRequest) (string, error) {
			return f.merge(ctx, in)
		})
}

// addMoreTools adds tools of the usual size, some 640 bytes each in tools/list,
// that do nothing.
func addMoreTools(s *mcp.Server, n int) {
	type page struct {
		repository
		Index int    `json:"index" jsonschema:"Number of the issue or pull request, as in its address"`
		Page  int    `json:"page,omitempty" jsonschema:"Page to give, from 1"`
		Limit int    `json:"limit,omitempty" jsonschema:"How many a page holds, at most 50"`
		Query string `json:"query,omitempty" jsonschema:"Words to look for in titles and bodies"`
	}
	for i := range n {
		add(s, fmt.Sprintf("do_nothing_%03d", i), "Do nothing. The description is as long as those of tools that do something, with what they need and what they give, so that a list of them is as long as a real one.",
			func(context.Context, *mcp.CallToolRequest, page) (string, error) { return "nothing", nil })
	}
}

// merge hides the body of an error, as forgejo-mcp's does, and with later takes
// any status for success, as forgejo-mcp's does with merge_when_checks_succeed.
func (f *forge) merge(ctx context.Context, in pullRequest) (string, error) {
	path := "/repos/" + url.PathEscape(in.Owner) + "/" + url.PathEscape(in.Repo) + "/pulls/" + strconv.Itoa(in.Index) + "/merge"
	resp, err := f.do(ctx, http.MethodPost, strings.TrimSuffix(f.url, "/")+"/api/v1"+path, strings.NewReader("{}"))
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK && !in.Later {
		return "", fmt.Errorf("merge pull request: server returned HTTP %d (expected 200)", resp.StatusCode)
	}
	return "Pull request scheduled to merge when all checks succeed", nil
}

// json is call with the answer left as text.
func (f *forge) json(ctx context.Context, method, path string, in any) (string, error) {
	var out json.RawMessage
	err := f.call(ctx, method, path, in, &out)
	return string(out), err
}

// addOwnTools adds tools that misbehave or look around.
func addOwnTools(s *mcp.Server, f *forge) {
	type fetch struct {
		URL    string `json:"url"`
		Method string `json:"method,omitempty" jsonschema:"GET if absent"`
	}
	add(s, "fetch_url", "Fetch any URL as forgejo-mcp fetches attachments: status line, then body",
		func(ctx context.Context, _ *mcp.CallToolRequest, in fetch) (string, error) {
			return f.fetch(ctx, cmp.Or(in.Method, http.MethodGet), in.URL)
		})
	type pause struct {
		Milliseconds int  `json:"ms"`
		Steps        int  `json:"steps,omitempty" jsonschema:"progress notifications to send, 1 if absent"`
		Ask          bool `json:"ask,omitempty" jsonschema:"ask the forge who the user is, at the end"`
	}
	add(s, "slow", "Answer after a while, with progress notifications",
		func(ctx context.Context, r *mcp.CallToolRequest, in pause) (string, error) {
			text, err := slow(ctx, r, in.Milliseconds, max(in.Steps, 1))
			if err != nil || !in.Ask {
				return text, err
			}
			return f.json(ctx, http.MethodGet, "/user", nil)
		})
	add(s, "crash", "End the server with status 3 after some last words",
		func(context.Context, *mcp.CallToolRequest, none) (string, error) {
			fmt.Fprintln(os.Stderr, "panic: told to crash")
			os.Exit(3)
			return "", nil
		})
	add(s, "probe", "Report what this process can see of its surroundings, as JSON",
		func(_ context.Context, _ *mcp.CallToolRequest, in probeRequest) (string, error) {
			b, err := json.Marshal(probe(in))
			return string(b), err
		})
	add(s, "search", "Look for secrets in everything this process can read, and report where they are, as JSON",
		func(ctx context.Context, _ *mcp.CallToolRequest, in searchRequest) (string, error) {
			report, err := search(ctx, in)
			if err != nil {
				return "", err
			}
			b, err := json.Marshal(report)
			return string(b), err
		})
}

func (f *forge) fetch(ctx context.Context, method, url string) (string, error) {
	resp, err := f.do(ctx, method, url, nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return resp.Status + "\n" + string(body), err
}

func slow(ctx context.Context, r *mcp.CallToolRequest, ms, steps int) (string, error) {
	for i := range steps {
		select {
		case <-time.After(time.Duration(ms) * time.Millisecond / time.Duration(steps)):
		case <-ctx.Done():
			return "", ctx.Err()
		}
		token := r.Params.GetProgressToken()
		if token == nil {
			continue
		}
		err := r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{
			ProgressToken: token, Progress: float64(i + 1), Total: float64(steps),
		})
		if err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("waited %d ms", ms), nil
}
