package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// bombs are JSON that costs its reader much, or that two readers take differently.
var bombs = map[string]struct{ before, unit, after string }{
	"deep":               {`{"jsonrpc":"2.0",%s,"x":`, `[`, ``},
	"deep and closed":    {`{"jsonrpc":"2.0",%s,"x":[`, `[],`, `0]}`},
	"many keys":          {`{"jsonrpc":"2.0",%s`, `,"k":0`, `}`},
	"empty keys":         {`{"jsonrpc":"2.0",%s`, `,"":""`, `}`},
	"keys in escapes":    {`{"jsonrpc":"2.0",%s`, `,"\u006b":0`, `}`},
	"keys of surrogates": {`{"jsonrpc":"2.0",%s`, `,"\ud800":"\udfff"`, `}`},
	"a huge number":      {`{"jsonrpc":"2.0",%s,"x":1`, `0`, `}`},
	"a huge exponent":    {`{"jsonrpc":"2.0",%s,"x":1e`, `9`, `}`},
	"a long key":         {`{"jsonrpc":"2.0",%s,"`, `k`, `":0}`},
	"no end":             {`{"jsonrpc":"2.0",%s,"x":"`, `\\`, ``},
	"white space":        {`{"jsonrpc":"2.0",%s`, ` `, `}`},
	"invalid UTF-8":      {`{"jsonrpc":"2.0",%s,"x":"`, "\xff\xc0\x80\xed\xa0\x80", `"}`},
	"control bytes":      {`{"jsonrpc":"2.0",%s,"x":"`, "\x00", `"}`},
	"lone surrogates":    {`{"jsonrpc":"2.0",%s,"x":"`, `\ud800\udfff\ud800`, `"}`},
	"numbers in a row":   {`{"jsonrpc":"2.0",%s,"x":[0`, `,-0.0e-0`, `]}`},
}

const (
	bombSize  = 8 << 20 // bytes
	bombPrice = 160 << 20
)

// A request of that kind is answered, with an error or not, for a bounded price, and the
// session goes on.
func TestBombsInRequests(t *testing.T) {
	w := start(t, "standin")
	c := w.mustConnect("alice")
	token := w.token(c)
	for name, b := range bombs {
		t.Run(name, func(t *testing.T) {
			for _, at := range []string{`"id":1,"method":"ping"`, `"id":1,"method":"tools/call","params":{"name":"get_my_user_info","arguments":{}}`} {
				body := fmt.Sprintf(b.before, at) + strings.Repeat(b.unit, bombSize/len(b.unit)) + b.after
				var r response
				grew := w.grows(func() { r = w.post(token, c.ID(), body) })
				valid := json.Valid([]byte(body)) && utf8.ValidString(body)
				if valid && r.status != 200 || !valid && (r.status != 400 || !strings.Contains(r.body, "-32700")) {
					t.Errorf("valid %v: got %d %.300s", valid, r.status, r.body)
				}
				t.Logf("%d, grew by %d MiB", r.status, grew/mib)
				if grew > bombPrice {
					t.Errorf("the broker grew by %d MiB", grew/mib)
				}
			}
			w.mustCall(c, "get_my_user_info", nil, "alice")
		})
	}
}

// Members that stand twice, ids and names that nobody can mean, and texts that are no
// UTF-8 have an error that says so, or go where one reading of them says.
func TestAmbiguousRequests(t *testing.T) {
	w := start(t, "standin")
	c := w.mustConnect("alice")
	token := w.token(c)
	const call = `{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":%s,"arguments":%s}}`
	for name, tc := range map[string]struct {
		body   string
		status int
		want   string
	}{
		"method twice":              {`{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}`, 400, "stands twice"},
		"method twice by an escape": {`{"jsonrpc":"2.0","id":1,"method":"ping","\u006dethod":"tools/list"}`, 400, "stands twice"},
		"method twice by case":      {`{"jsonrpc":"2.0","id":1,"method":"ping","METHOD":"tools/list"}`, 400, "another case"},
		"params by a long s":        {`{"jsonrpc":"2.0","id":1,"method":"ping","param` + "ſ" + `":{}}`, 400, "another case"},
		"tool twice":                {`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"slow","name":"get_my_user_info","arguments":{}}}`, 400, "stands twice"},
		"a huge id":                 {fmt.Sprintf(call, strings.Repeat("9", 1<<20), `"get_my_user_info"`, "{}"), 200, "alice"},
		"an id beyond all floats":   {fmt.Sprintf(call, "1e999999999", `"get_my_user_info"`, "{}"), 200, `"id":1e999999999`},
		"an id of surrogates":       {fmt.Sprintf(call, `"\ud800"`, `"get_my_user_info"`, "{}"), 200, `"id":"\ud800"`},
		"a tool of surrogates":      {fmt.Sprintf(call, "1", `"\ud800"`, "{}"), 200, `"error"`},
		"a tool of no UTF-8":        {fmt.Sprintf(call, "1", "\"\xff\"", "{}"), 400, "UTF-8"},
		"a number beyond all":       {fmt.Sprintf(call, "1", `"slow"`, `{"ms":1e400}`), 200, `"isError":true`},
		"a byte order mark":         {"\xef\xbb\xbf" + `{"jsonrpc":"2.0","id":1,"method":"ping"}`, 400, "-32700"},
		"UTF-16":                    {"{\x00\"\x00}\x00", 400, "-32700"},
		"two values":                {`{"jsonrpc":"2.0","id":1,"method":"ping"}{}`, 400, "-32700"},
	} {
		t.Run(name, func(t *testing.T) {
			if r := w.post(token, c.ID(), tc.body); r.status != tc.status || !strings.Contains(r.body, tc.want) {
				t.Errorf("got %d %.400s, want %d with %q", r.status, r.body, tc.status, tc.want)
			}
		})
	}
	for _, encoding := range []string{"gzip", "br", "zstd"} {
		if r := w.post(token, c.ID(), "\x1f\x8b\x08\x00", "Content-Encoding", encoding); r.status < 400 || r.status >= 500 {
			t.Errorf("%s: got %d %s", encoding, r.status, r.body)
		}
	}
	w.mustCall(c, "get_my_user_info", nil, "alice")
}

// What the backend says of that kind is dropped or passed on for a bounded price, whether
// it is no message, belongs to no call, or answers one.
func TestBombsOfTheBackend(t *testing.T) {
	w := start(t, "standin")
	c := w.mustConnect("alice")
	token := w.token(c)
	quoted := func(text string) string {
		q := fmt.Sprintf("%+q", text)
		return q[1 : len(q)-1]
	}
	said := 0
	for name, b := range bombs {
		t.Run(name, func(t *testing.T) {
			for as, answers := range map[string]int{
				`"method":"notifications/message","params":{"level":"info","data":""}`: 0,
				`"id":{id},"result":{"content":[{"type":"text","text":"a bomb"}]}`:     200,
			} {
				args := map[string]any{
					"before": quoted(fmt.Sprintf(b.before, as)), "unit": quoted(b.unit), "times": bombSize / len(b.unit) / max(answers/4, 1),
					"after": quoted(b.after), "answers": answers,
				}
				line := fmt.Sprintf(b.before, strings.Replace(as, "{id}", "1", 1)) + strings.Repeat(b.unit, args["times"].(int)) + b.after
				want := "said"
				switch {
				case answers > 0 && json.Valid([]byte(line)) && utf8.ValidString(line):
					want = "a bomb"
				case answers > 0:
					want = "the backend's answer cannot be passed on"
				}
				var r response
				grew := w.grows(func() {
					r = w.tool(token, c.ID(), "say", args)
					said++
					w.waitLog("said it", said)
				})
				t.Logf("%d, grew by %d MiB", r.status, grew/mib)
				if r.status != 200 || !strings.Contains(r.body, want) {
					t.Errorf("got %d %.300s, want %q", r.status, r.body, want)
				}
				if grew > bombPrice {
					t.Errorf("the broker grew by %d MiB", grew/mib)
				}
				w.mustCall(c, "get_my_user_info", nil, "alice")
			}
		})
	}
}

// A line longer than any memory is dropped as it comes, and what follows it is heard.
func TestEndlessLineOfTheBackend(t *testing.T) {
	const size = 10 << 30
	w := start(t, "standin")
	c := w.mustConnect("alice")
	token := w.token(c)
	w.mustCall(c, "get_my_user_info", nil, "alice")
	var r response
	grew := w.grows(func() {
		r = w.tool(token, c.ID(), "say", map[string]any{"before": `{\"jsonrpc\":\"2.0\",\"method\":\"`, "unit": strings.Repeat("x", 1<<10), "times": size >> 10, "after": `\"}`})
	})
	t.Logf("grew by %d MiB", grew/mib)
	w.wantText(r, "said")
	if grew > 320*mib {
		t.Errorf("the broker grew by %d MiB", grew/mib)
	}
	w.waitLog(fmt.Sprint("bytes=", size+29), 1)
	w.mustCall(c, "get_my_user_info", nil, "alice")
}
