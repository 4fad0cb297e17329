package mcp

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// tools is an answer to tools/list of some 90 KB.
func tools() []byte {
	tool := `{"name":"create_issue","description":"Create an issue in a repository: \"title\" and body.\n","inputSchema":{"type":"object","properties":{"owner":{"type":"string","description":"` + strings.Repeat("who owns it ", 20) + `"},"index":{"type":"number","minimum":1}},"required":["owner","index"]}},`
	return []byte(`{"jsonrpc":"2.0","id":1099511627777,"result":{"tools":[` + strings.TrimSuffix(strings.Repeat(tool, 90<<10/len(tool)), ",") + `]}}`)
}

// BenchmarkParse90KB gives the time as a part of what encoding/json needs to find
// the same members.
func BenchmarkParse90KB(b *testing.B) {
	raw := tools()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	start := time.Now()
	for b.Loop() {
		if _, err := Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
	ours := time.Since(start)
	start = time.Now()
	for range b.N {
		var envelope struct {
			JSONRPC, Method           string
			ID, Params, Result, Error json.RawMessage
		}
		if err := json.Unmarshal(raw, &envelope); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(ours.Seconds()/time.Since(start).Seconds(), "×encoding/json")
}
