package relay

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/session/relay/lines"
)

// An answer that cannot be passed on fails its call at once, with the reason, and the
// calls beside it go on.
func TestAnswersThatCannotBePassedOn(t *testing.T) {
	const limit = 100_000
	deep := strings.Repeat("[", 10001) + strings.Repeat("]", 10001)
	for name, tc := range map[string]struct{ line, want string }{
		"too long, id first": {`{"jsonrpc":"2.0","id":%[1]s,"result":{"a":"` + strings.Repeat("x", limit) + `"}}`, `bytes long, and at most 100000 are passed on`},
		"too long, id last":  {`{"jsonrpc":"2.0","result":{"a":"` + strings.Repeat("x", 3*limit) + `"},"id":%[1]s}`, `bytes long, and at most 100000 are passed on`},
		"too deep":           {`{"jsonrpc":"2.0","result":` + deep + `,"id":%[1]s}`, "it nests too deep"},
		"not UTF-8":          {`{"jsonrpc":"2.0","id":%[1]s,"result":{"a":"` + "\xc3\x28" + `"}}`, "not UTF-8"},
		"cut":                {`{"jsonrpc":"2.0","id":%[1]s,"result":{"a":"b`, "not valid JSON"},
		"two ids":            {`{"jsonrpc":"2.0","id":%[1]s,"ID":%[1]s,"result":{}}`, ""},
		"no result":          {`{"jsonrpc":"2.0","id":%[1]s}`, "result"},
		"both":               {`{"jsonrpc":"2.0","id":%[1]s,"result":{},"error":{"code":1,"message":"a"}}`, "exactly one"},
		"old version":        {`{"jsonrpc":"1.0","id":%[1]s,"result":{}}`, `\"jsonrpc\" must be \"2.0\"`},
		"no version":         {`{"id":%[1]s,"result":{}}`, `\"jsonrpc\" must be \"2.0\"`},
		"result no object":   {`{"jsonrpc":"2.0","id":%[1]s,"result":"done"}`, `\"result\" must be an object`},
		"result null":        {`{"jsonrpc":"2.0","id":%[1]s,"result":null}`, `\"result\" must be an object`},
		"error no object":    {`{"jsonrpc":"2.0","id":%[1]s,"error":"no"}`, `\"error\" must have`},
		"error no code":      {`{"jsonrpc":"2.0","id":%[1]s,"error":{"message":"a"}}`, `\"error\" must have`},
		"error no message":   {`{"jsonrpc":"2.0","id":%[1]s,"error":{"code":1}}`, `\"error\" must have`},
		"in a batch":         {`[{"jsonrpc":"2.0","id":%[1]s}]`, "result"},
	} {
		t.Run(name, func(t *testing.T) {
			r, child := start(t, Config{Config: lines.Config{MaxLine: limit}})
			a := call(t, r, `{"jsonrpc":"2.0","id":"a","method":"a"}`)
			id := string(child.reads().ID())
			b := call(t, r, `{"jsonrpc":"2.0","id":"b","method":"b"}`)
			other := child.reads().ID()
			if name == "two ids" { // then only one in flight can be meant
				child.writes(`{"jsonrpc":"2.0","id":%s,"result":{"of":"b"}}`, other)
				for r.InFlight() == 2 {
					child.sync()
				}
			}
			child.writes("%s", strings.ReplaceAll(tc.line, "%[1]s", id))
			got := next(t, a)
			if !strings.HasPrefix(got, `{"jsonrpc":"2.0","id":"a","error":{"code":-32603,"message":"the backend's answer cannot be passed on: `) || !strings.Contains(got, tc.want) {
				t.Errorf("got %.300s", got)
			}
			if name != "two ids" {
				child.writes(`{"jsonrpc":"2.0","id":%s,"result":{"of":"b"}}`, other)
			}
			if got := next(t, b); got != `{"jsonrpc":"2.0","id":"b","result":{"of":"b"}}` {
				t.Errorf("the other call got %s", got)
			}
		})
	}
}

// What bears no id that can be read fails the only call in flight if it was meant as an
// answer, and none when several can be meant or it was meant as something else.
func TestMalformedWithoutID(t *testing.T) {
	bad := `{"jsonrpc":"2.0","result":{,"id":1}`
	for name, tc := range map[string]struct {
		line  string
		calls int
		fails bool
	}{
		"an answer":               {bad, 1, true},
		"an answer to one of two": {bad, 2, false},
		"could not read":          {`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}`, 1, true},
		"refused a notification":  {`{"jsonrpc":"2.0","id":null,"error":{"code":-32601,"message":"Method not found"}}`, 1, false},
		"a notification":          {`{"jsonrpc":"2.0","method":"notifications/message","params":{,"id":1}`, 1, false},
		"a log of objects":        {`{"level":"error","error":"no such issue","id":1`, 1, false},
		"a log":                   {`[INFO] {"jsonrpc":"2.0","id":1}`, 1, false},
		"a log over the limit":    {"ready " + strings.Repeat("x", 2000), 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, child := start(t, Config{Config: lines.Config{MaxLine: 1000}, Epoch: 7})
			var all []*Call
			var ids []string
			for i := range tc.calls {
				all = append(all, call(t, r, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"a"}`, i)))
				ids = append(ids, string(child.reads().ID()))
			}
			child.writes("%s", tc.line)
			child.sync()
			if fails := r.InFlight() < tc.calls; fails != tc.fails {
				t.Fatalf("fails: %v, want %v", fails, tc.fails)
			}
			for i, c := range all {
				if !tc.fails {
					child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, ids[i])
				}
				if got := next(t, c); strings.Contains(got, `"error"`) != tc.fails {
					t.Errorf("call %d got %s", i, got)
				}
			}
		})
	}
}

// Nothing fails while a call that was given up may be meant.
func TestMalformedAfterAnAbandonedCall(t *testing.T) {
	r, child := start(t, Config{})
	call(t, r, `{"jsonrpc":"2.0","id":1,"method":"a"}`).Abandon("")
	c := call(t, r, `{"jsonrpc":"2.0","id":2,"method":"a"}`)
	child.last()
	id := child.last().ID()
	child.writes(`{"jsonrpc":"2.0","result":{,`)
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, id)
	if got := next(t, c); strings.Contains(got, "error") {
		t.Errorf("got %s", got)
	}
}

// A backend that gives ids back in another form is understood, and so is a batch.
func TestIDsInAnotherForm(t *testing.T) {
	for _, form := range []string{`{"jsonrpc":"2.0","id":"%s","result":{}}`, `{"jsonrpc":"2.0","id":%s.0,"result":{}}`, `{"jsonrpc":"2.0","id":%se0,"result":{}}`, ` [ {"jsonrpc":"2.0","id":%s,"result":{}} ] `} {
		r, child := start(t, Config{Epoch: MaxEpoch})
		a := call(t, r, `{"jsonrpc":"2.0","id":"a","method":"a"}`)
		child.writes(form, child.reads().ID())
		if got := next(t, a); got != `{"jsonrpc":"2.0","id":"a","result":{}}` {
			t.Errorf("%s: got %s", form, got)
		}
	}
}

// A request of the backend's that is malformed is refused, so that it does not wait.
func TestMalformedQuestionIsRefused(t *testing.T) {
	_, child := start(t, Config{})
	for id, want := range map[string]string{`"q"`: `"q"`, "\"\xff\"": "null", "7": "7"} {
		child.writes(`{"jsonrpc":"2.0","id":%s,"method":"roots/list","params":"%s"}`, id, "\xff")
		if m := child.reads(); string(m.ID()) != want || m.ErrorCode() != -32600 {
			t.Errorf("for %q the child read %s", id, m.Raw)
		}
	}
}

// Whatever the backend says beside its answer, what is not UTF-8 comes to nobody.
func TestNothingPassesThatIsNotUTF8(t *testing.T) {
	var other []string
	var mu sync.Mutex
	r, child := start(t, Config{Other: func(raw []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		other = append(other, string(raw))
		return true
	}})
	c := call(t, r, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":{"progressToken":"p"}}}`)
	id := child.reads().ID()
	for _, line := range []string{
		`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":1,"message":"%s"}}`,
		`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","logger":%s,"data":"%s"}}`,
		`{"jsonrpc":"2.0","method":"notifications/x","params":{"id":%s,"%s":1}}`,
		`{"jsonrpc":"2.0","method":"notifications/%[2]s","params":{"id":%[1]s}}`,
		`[{"jsonrpc":"2.0","method":"notifications/x","params":{"id":%s,"x":"%s"}}]`,
	} {
		child.writes(line, id, "\xc3\x28")
	}
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, id)
	if got := next(t, c); got != `{"jsonrpc":"2.0","id":1,"result":{}}` {
		t.Errorf("got %q", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(other) != 0 {
		t.Errorf("passed %q", other)
	}
}
