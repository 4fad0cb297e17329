package main

import (
	"strings"
	"testing"
)

const log = `{"Action":"output","Package":"github.com/fjmcp/fjmcp-broker/internal/a","Test":"TestSkip","Output":"=== RUN   TestSkip\n"}
{"Action":"output","Package":"github.com/fjmcp/fjmcp-broker/internal/a","Test":"TestSkip","Output":"    a_test.go:3: needs root\n"}
{"Action":"output","Package":"github.com/fjmcp/fjmcp-broker/internal/a","Test":"TestSkip","Output":"--- SKIP: TestSkip (0.00s)\n"}
{"Action":"skip","Package":"github.com/fjmcp/fjmcp-broker/internal/a","Test":"TestSkip"}
{"Action":"output","Package":"github.com/fjmcp/fjmcp-broker/internal/a","Test":"TestReal","Output":"    a_test.go:3: set FJMCP_TEST_FORGEJO_MCP\n"}
{"Action":"skip","Package":"github.com/fjmcp/fjmcp-broker/internal/a","Test":"TestReal"}
{"Action":"output","Package":"github.com/fjmcp/fjmcp-broker/internal/a","Test":"TestBad","Output":"    a_test.go:9: wrong\n"}
{"Action":"fail","Package":"github.com/fjmcp/fjmcp-broker/internal/a","Test":"TestBad"}
{"Action":"output","Package":"github.com/fjmcp/fjmcp-broker/internal/a","Output":"FAIL\tgithub.com/fjmcp/fjmcp-broker/internal/a\t0.1s\n"}
{"Action":"pass","Package":"github.com/fjmcp/fjmcp-broker/internal/test/e2e","Test":"TestBox","Elapsed":1.25}
{"Action":"skip","Package":"github.com/fjmcp/fjmcp-broker/internal/none"}
make: no JSON
`

func TestReport(t *testing.T) {
	var out strings.Builder
	r := &report{out: &out, output: map[string]string{}}
	if err := r.read(strings.NewReader(log)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"FAILED internal/a TestBad\n    a_test.go:9: wrong\n", "make: no JSON\n",
		"skipped:\n  internal/a TestSkip: a_test.go:3: needs root\n  internal/a TestReal: a_test.go:3: set FJMCP_TEST_FORGEJO_MCP\n",
		"passed in a container:\n  internal/test/e2e TestBox (1.2s)\n",
		"go test:\nFAIL\tgithub.com/fjmcp/fjmcp-broker/internal/a\t0.1s\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if len(r.refused) != 1 || !strings.Contains(r.refused[0], "TestSkip") {
		t.Errorf("refused %q", r.refused)
	}
}
