package mcp

import "testing"

func TestReadMeta(t *testing.T) {
	const version = `"io.modelcontextprotocol/protocolVersion":"2026-07-28"`
	for meta, want := range map[string]bool{
		`{}`: false,
		`{"io.modelcontextprotocol/protocolVersion":1,"io.modelcontextprotocol/clientCapabilities":{}}`: false,
		`{` + version + `}`: false,
		`{` + version + `,"io.modelcontextprotocol/clientCapabilities":{}}`:                                              true,
		`{` + version + `,"io.modelcontextprotocol/clientCapabilities":null}`:                                            false,
		`{` + version + `,"io.modelcontextprotocol/clientCapabilities":[]}`:                                              false,
		`{` + version + `,"io.modelcontextprotocol/clientCapabilities":{"sampling":true}}`:                               false,
		`{` + version + `,"io.modelcontextprotocol/clientCapabilities":{"sampling":{"tools":{}},"x":1}}`:                 true,
		`{` + version + `,"io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":"x"}`:     false,
		`{` + version + `,"io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/logLevel":"debug"}`:   true,
		`{` + version + `,"io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/logLevel":"verbose"}`: false,
		`{` + version + `,"io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/logLevel":7}`:         false,
	} {
		m := mustParse(t, `{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":`+meta+`}}`)
		if _, err := ReadMeta(m); (err == nil) != want {
			t.Errorf("%s: %v", meta, err)
		}
	}
}

func TestSevere(t *testing.T) {
	for _, tc := range []struct {
		level, from string
		want        bool
	}{{"debug", "debug", true}, {"debug", "info", false}, {"emergency", "alert", true}, {"warning", "error", false}, {"strange", "error", true}} {
		if Severe(tc.level, tc.from) != tc.want {
			t.Errorf("%s from %s", tc.level, tc.from)
		}
	}
}

func TestErrorCode(t *testing.T) {
	m := mustParse(t, `{"jsonrpc":"2.0","id":1,"error":{"message":"m", "code" : -32002,"data":1.50}}`)
	if m.ErrorCode() != CodeResourceNotFound {
		t.Fatalf("got %d", m.ErrorCode())
	}
	if got := string(m.WithErrorCode(CodeInvalidParams)); got != `{"jsonrpc":"2.0","id":1,"error":{"message":"m", "code" : -32602,"data":1.50}}` {
		t.Fatalf("got %s", got)
	}
	if got := mustParse(t, `{"jsonrpc":"2.0","id":1,"result":{}}`).ErrorCode(); got != 0 {
		t.Fatalf("a result has code %d", got)
	}
}

func TestWithParams(t *testing.T) {
	for raw, want := range map[string]string{
		`{"jsonrpc":"2.0","method":"x"}`:                      `{"params":{"a":1},"jsonrpc":"2.0","method":"x"}`,
		`{"jsonrpc":"2.0","params": 7 ,"method":"x"}`:         `{"jsonrpc":"2.0","params": {"a":1} ,"method":"x"}`,
		`{"jsonrpc":"2.0","method":"x","params":[ ] , "z":0}`: `{"jsonrpc":"2.0","method":"x","params":{"a":1} , "z":0}`,
	} {
		if got := mustParse(t, raw).WithParams([]byte(`{"a":1}`)); string(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func mustParse(t *testing.T, raw string) Message {
	t.Helper()
	m, err := Parse([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return m
}
