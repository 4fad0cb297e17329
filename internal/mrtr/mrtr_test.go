package mrtr

import (
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
)

type call struct {
	name    string
	expired atomic.Bool
}

func (c *call) Expire() { c.expired.Store(true) }

func lot(t *testing.T) *Lot[*call] {
	t.Helper()
	keys, err := seal.NewKeyring(make([]byte, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return New[*call](Config{Keys: keys})
}

func parse(t *testing.T, raw string) mcp.Message {
	t.Helper()
	m, err := mcp.Parse([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

var claim = Claim{UserID: "u", GrantID: "g", ClientID: "c", Request: [32]byte{1}}

func park(t *testing.T, l *Lot[*call], session string, c *call) string {
	t.Helper()
	s, err := l.Park(session, c, claim)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func anyone(*call) bool { return true }

func TestTakenOnce(t *testing.T) {
	l := lot(t)
	first, second := &call{name: "first"}, &call{name: "second"}
	one, two := park(t, l, "s", first), park(t, l, "s", second)
	for state, want := range map[string]*call{one: first, two: second} {
		if got, err := l.Take(state, claim, anyone); err != nil || got != want {
			t.Errorf("got %v, %v", got, err)
		}
		if _, err := l.Take(state, claim, anyone); !errors.Is(err, ErrGone) {
			t.Errorf("a second time: %v", err)
		}
	}
	third := park(t, l, "s", &call{})
	if _, err := l.Take(third, claim, func(*call) bool { return false }); !errors.Is(err, ErrRefused) {
		t.Errorf("one that is not wanted: %v", err)
	}
	if _, err := l.Take(third, claim, anyone); err != nil {
		t.Errorf("one that was not wanted before: %v", err)
	}
	if len(l.parked)+len(l.count) != 0 {
		t.Errorf("%d calls are left, %d sessions", len(l.parked), len(l.count))
	}
}

func TestStatesOfOthersAreRefused(t *testing.T) {
	l := lot(t)
	c := &call{}
	state := park(t, l, "s", c)
	for name, other := range map[string]Claim{
		"user":    {"x", "g", "c", [32]byte{1}},
		"grant":   {"u", "x", "c", [32]byte{1}},
		"client":  {"u", "g", "x", [32]byte{1}},
		"request": {"u", "g", "c", [32]byte{2}},
	} {
		if _, err := l.Take(state, other, anyone); !errors.Is(err, ErrState) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	broken := []byte(state)
	broken[len(broken)/2] ^= 1
	for _, s := range []string{"", "x", state + "A", state + "-TAMPERED", state[1:], string(broken), strings.ToUpper(state)} {
		if _, err := l.Take(s, claim, anyone); !errors.Is(err, ErrState) {
			t.Errorf("%.20s…: %v", s, err)
		}
	}
	if got, err := l.Take(state, claim, anyone); err != nil || got != c {
		t.Errorf("after all that: %v, %v", got, err)
	}
}

// What is sealed elsewhere with the same keys is no state.
func TestPurpose(t *testing.T) {
	l := lot(t)
	park(t, l, "s", &call{})
	plain, _ := json.Marshal(state{Claim: claim, Expires: time.Now().Add(time.Hour)})
	sealed := l.cfg.Keys.Seal(plain, []byte("another row"))
	if _, err := l.Take(string(sealed), claim, anyone); !errors.Is(err, ErrState) {
		t.Error(err)
	}
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lot(t)
		c, taken := &call{}, &call{}
		state, other := park(t, l, "s", c), park(t, l, "s", taken)
		if _, err := l.Take(other, claim, anyone); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10*time.Minute - time.Second)
		synctest.Wait()
		if c.expired.Load() {
			t.Fatal("expired early")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if !c.expired.Load() || taken.expired.Load() {
			t.Errorf("expired: %v, taken: %v", c.expired.Load(), taken.expired.Load())
		}
		if _, err := l.Take(state, claim, anyone); !errors.Is(err, ErrGone) {
			t.Errorf("after its time: %v", err)
		}
	})
}

func TestRoom(t *testing.T) {
	l := lot(t)
	var last string
	for range 20 {
		last = park(t, l, "s", &call{})
	}
	if _, err := l.Park("s", &call{}, claim); !errors.Is(err, ErrFull) {
		t.Errorf("got %v", err)
	}
	park(t, l, "another", &call{})
	if _, err := l.Take(last, claim, anyone); err != nil {
		t.Fatal(err)
	}
	park(t, l, "s", &call{})
}

func TestDigest(t *testing.T) {
	const one = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"x":1,"y":[1.0,"é"]},"_meta":{"a":1}}}`
	for raw, same := range map[string]bool{
		`{"jsonrpc":"2.0","id":"other","params":{ "arguments":{"y":[1.0,"\u00e9"],"x":1},"name":"a","inputResponses":{},"requestState":"s"},"method":"tools/call"}`: true,
		strings.Replace(one, "1.0", "1", 1):                  false,
		strings.Replace(one, `"a"`, `"b"`, 1):                false,
		strings.Replace(one, "tools/call", "prompts/get", 1): false,
		strings.Replace(one, `"x":1,`, ``, 1):                false,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call"}`:     false,
	} {
		if got := Digest(parse(t, one)) == Digest(parse(t, raw)); got != same {
			t.Errorf("%s: same is %v", raw, got)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, tc := range []struct {
		method, params, has string
		want                bool
		needs               string
	}{
		{"roots/list", `{}`, `{}`, false, `{"roots":{}}`},
		{"roots/list", `{}`, `{"roots":{}}`, true, `{"roots":{}}`},
		{"sampling/createMessage", `{}`, `{"roots":{}}`, false, `{"sampling":{}}`},
		{"sampling/createMessage", `{}`, `{"sampling":{}}`, true, `{"sampling":{}}`},
		{"sampling/createMessage", `{"tools":[]}`, `{"sampling":{}}`, false, `{"sampling":{"tools":{}}}`},
		{"sampling/createMessage", `{"toolChoice":{}}`, `{"sampling":{"tools":{}}}`, true, `{"sampling":{"tools":{}}}`},
		{"elicitation/create", `{}`, `{}`, false, `{"elicitation":{"form":{}}}`},
		{"elicitation/create", `{}`, `{"elicitation":{}}`, true, `{"elicitation":{"form":{}}}`},
		{"elicitation/create", `{"mode":"form"}`, `{"elicitation":{"url":{}}}`, false, `{"elicitation":{"form":{}}}`},
		{"elicitation/create", `{"mode":"url"}`, `{"elicitation":{}}`, false, `{"elicitation":{"url":{}}}`},
		{"elicitation/create", `{"mode":"url"}`, `{"elicitation":{"form":{},"url":{}}}`, true, `{"elicitation":{"url":{}}}`},
	} {
		needs, ok := Needs(parse(t, `{"jsonrpc":"2.0","id":1,"method":"`+tc.method+`","params":`+tc.params+`}`))
		if got, _ := json.Marshal(needs); !ok || string(got) != tc.needs {
			t.Errorf("%s %s needs %s", tc.method, tc.params, got)
		}
		var has mcp.ClientCapabilities
		if err := json.Unmarshal([]byte(tc.has), &has); err != nil {
			t.Fatal(err)
		}
		if got := Covers(has, needs); got != tc.want {
			t.Errorf("%s %s by %s: %v", tc.method, tc.params, tc.has, got)
		}
	}
	if _, ok := Needs(parse(t, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)); ok {
		t.Error("a client can be asked for tools")
	}
}
