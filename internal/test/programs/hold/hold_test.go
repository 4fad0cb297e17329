package hold

import (
	"bufio"
	"io"
	"testing"
)

// What an older server would take otherwise is changed, and all else passes.
func TestHold(t *testing.T) {
	client, fromClient := io.Pipe()
	toServer, server := io.Pipe()
	serverOut, fromServer := io.Pipe()
	toClient, clientIn := io.Pipe()
	h := &holder{client: clientIn}
	go h.requests(client, server)
	go h.answers(serverOut)
	seen, heard := bufio.NewReader(toServer), bufio.NewReader(toClient)
	for _, step := range []struct{ say, server, client string }{
		{say: `{"jsonrpc":"2.0","id":"a","method":"server/discover","params":{}}`, client: `{"jsonrpc":"2.0","id":"a","error":{"code":-32601,"message":"Method not found"}}`},
		{say: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2026-07-28"}}`, server: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`},
		{say: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}`, server: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}`},
		{
			say:    `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"x","inputResponses":{},"arguments":{"requestState":1},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/related-task":1,"a":1.0},"requestState":"s"}}`,
			server: `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"x","arguments":{"requestState":1},"_meta":{"io.modelcontextprotocol/related-task":1,"a":1.0}}}`,
		},
		{say: `{ "method":"ping", "id":3.0, "jsonrpc":"2.0" }`, server: `{ "method":"ping", "id":3.0, "jsonrpc":"2.0" }`},
		{say: `rubbish`, server: `rubbish`},
	} {
		if _, err := io.WriteString(fromClient, step.say+"\n"); err != nil {
			t.Fatal(err)
		}
		from, want := seen, step.server
		if step.client != "" {
			from, want = heard, step.client
		}
		if got, err := from.ReadString('\n'); err != nil || got != want+"\n" {
			t.Errorf("%s became %s%v, want %s", step.say, got, err, want)
		}
	}
	answer := `{"jsonrpc":"2.0","id":2,"result":{"resultType":"complete"}}` + "\n"
	go io.WriteString(fromServer, answer)
	if got, err := heard.ReadString('\n'); err != nil || got != answer {
		t.Errorf("the answer became %s%v", got, err)
	}
	fromClient.Close()
	if got, err := seen.ReadString('\n'); err != io.EOF {
		t.Errorf("the server got %q, %v after the client's end", got, err)
	}
}
