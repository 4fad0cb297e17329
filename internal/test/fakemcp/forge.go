package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// forge is a client of Forgejo's REST API that holds no token.
type forge struct{ url, agent string }

// call sends in as JSON, if not nil, to /api/v1<path> and returns the JSON that comes.
func (f *forge) call(ctx context.Context, method, path string, in any) (string, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return "", err
		}
		body = bytes.NewReader(b)
	}
	status, text, err := f.do(ctx, method, f.api(path), body)
	if err == nil && (status == "" || status[0] != '2') {
		err = fmt.Errorf("%s %s: %s: %.300s", method, path, status, bytes.TrimSpace(text))
	}
	if err == nil && !json.Valid(text) {
		err = fmt.Errorf("%s %s: no JSON: %.300s", method, path, text)
	}
	return string(text), err
}

func (f *forge) api(path string) string { return strings.TrimSuffix(f.url, "/") + "/api/v1" + path }

// do sends a request and returns the status line and the body of the answer.
func (f *forge) do(ctx context.Context, method, url string, body io.Reader) (status string, text []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, cmp.Or(method, http.MethodGet), url, body)
	if err != nil {
		return "", nil, err
	}
	req.Header.Set("User-Agent", f.agent)
	req.Header.Set("Authorization", "token ") // forgejo-mcp sends it bare when it has none
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	text, err = io.ReadAll(resp.Body)
	return resp.Status, text, err
}
