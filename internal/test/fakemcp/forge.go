package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// forge is a client of Forgejo's REST API that holds no token.
type forge struct{ url, agent string }

func (f *forge) version(ctx context.Context) (string, error) {
	var v struct {
		Version string `json:"version"`
	}
	err := f.call(ctx, http.MethodGet, "/version", nil, &v)
	if err == nil && v.Version == "" {
		err = fmt.Errorf("%s gave no version", f.url)
	}
	return v.Version, err
}

// call sends in as JSON, if not nil, to /api/v1<path> and reads JSON into out.
func (f *forge) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	resp, err := f.do(ctx, method, strings.TrimSuffix(f.url, "/")+"/api/v1"+path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, bytes.TrimSpace(text))
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

func (f *forge) do(ctx context.Context, method, url string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", f.agent)
	req.Header.Set("Authorization", "token ") // forgejo-mcp sends it bare when it has none
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return http.DefaultClient.Do(req)
}
