package stateless

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
)

// testParking tells expired of the calls that it gives up.
func testParking(t *testing.T, expired func(*parked)) *parking {
	t.Helper()
	keys, err := seal.NewKeyring(make([]byte, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return newParking(keys, expired)
}

var testClaim = claim{UserID: "u", GrantID: "g", ClientID: "c", Request: [32]byte{1}}

func parkTest(t *testing.T, l *parking, session string, c *parked) string {
	t.Helper()
	s, err := l.Park(session, c, testClaim)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func anyone(*parked) error { return nil }

func TestTakenOnce(t *testing.T) {
	l := testParking(t, nil)
	first, second := &parked{}, &parked{}
	one, two := parkTest(t, l, "s", first), parkTest(t, l, "s", second)
	for state, want := range map[string]*parked{one: first, two: second} {
		if got, err := l.Take(state, testClaim, anyone); err != nil || got != want {
			t.Errorf("got %v, %v", got, err)
		}
		if _, err := l.Take(state, testClaim, anyone); !errors.Is(err, errGone) {
			t.Errorf("a second time: %v", err)
		}
	}
	third := parkTest(t, l, "s", &parked{})
	if _, err := l.Take(third, testClaim, func(*parked) error { return errors.ErrUnsupported }); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("one that is not wanted: %v", err)
	}
	if _, err := l.Take(third, testClaim, anyone); err != nil {
		t.Errorf("one that was not wanted before: %v", err)
	}
	if len(l.parked)+len(l.count) != 0 {
		t.Errorf("%d calls are left, %d sessions", len(l.parked), len(l.count))
	}
}

func TestStatesOfOthersAreRefused(t *testing.T) {
	l := testParking(t, nil)
	c := &parked{}
	state := parkTest(t, l, "s", c)
	for name, other := range map[string]claim{
		"user":    {"x", "g", "c", [32]byte{1}, false},
		"grant":   {"u", "x", "c", [32]byte{1}, false},
		"client":  {"u", "g", "x", [32]byte{1}, false},
		"request": {"u", "g", "c", [32]byte{2}, false},
		"view":    {"u", "g", "c", [32]byte{1}, true},
	} {
		if _, err := l.Take(state, other, anyone); !errors.Is(err, errState) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	broken := []byte(state)
	broken[len(broken)/2] ^= 1
	for _, s := range []string{"", "x", state + "A", state + "-TAMPERED", state[1:], string(broken), strings.ToUpper(state)} {
		if _, err := l.Take(s, testClaim, anyone); !errors.Is(err, errState) {
			t.Errorf("%.20s…: %v", s, err)
		}
	}
	if got, err := l.Take(state, testClaim, anyone); err != nil || got != c {
		t.Errorf("after all that: %v, %v", got, err)
	}
}

// What is sealed elsewhere with the same keys is no state.
func TestPurpose(t *testing.T) {
	l := testParking(t, nil)
	parkTest(t, l, "s", &parked{})
	plain, _ := json.Marshal(parkedState{Claim: testClaim, Expires: time.Now().Add(time.Hour)})
	sealed := l.keys.Seal(plain, []byte("another row"))
	if _, err := l.Take(string(sealed), testClaim, anyone); !errors.Is(err, errState) {
		t.Error(err)
	}
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var expired sync.Map
		l := testParking(t, func(p *parked) { expired.Store(p, true) })
		has := func(p *parked) bool { _, ok := expired.Load(p); return ok }
		c, taken := &parked{}, &parked{}
		state, other := parkTest(t, l, "s", c), parkTest(t, l, "s", taken)
		if _, err := l.Take(other, testClaim, anyone); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10*time.Minute - time.Second)
		synctest.Wait()
		if has(c) {
			t.Fatal("expired early")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if !has(c) || has(taken) {
			t.Errorf("expired: %v, taken: %v", has(c), has(taken))
		}
		if _, err := l.Take(state, testClaim, anyone); !errors.Is(err, errGone) {
			t.Errorf("after its time: %v", err)
		}
	})
}

func TestRoom(t *testing.T) {
	l := testParking(t, nil)
	var last string
	for range 20 {
		last = parkTest(t, l, "s", &parked{})
	}
	if _, err := l.Park("s", &parked{}, testClaim); !errors.Is(err, errParkingFull) {
		t.Errorf("got %v", err)
	}
	parkTest(t, l, "another", &parked{})
	if _, err := l.Take(last, testClaim, anyone); err != nil {
		t.Fatal(err)
	}
	parkTest(t, l, "s", &parked{})
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
		if got := digest(parse(t, one)) == digest(parse(t, raw)); got != same {
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
		needs, ok := needsOf(parse(t, `{"jsonrpc":"2.0","id":1,"method":"`+tc.method+`","params":`+tc.params+`}`))
		if got, _ := json.Marshal(needs); !ok || string(got) != tc.needs {
			t.Errorf("%s %s needs %s", tc.method, tc.params, got)
		}
		var has mcp.ClientCapabilities
		if err := json.Unmarshal([]byte(tc.has), &has); err != nil {
			t.Fatal(err)
		}
		if got := covers(has, needs); got != tc.want {
			t.Errorf("%s %s by %s: %v", tc.method, tc.params, tc.has, got)
		}
	}
	if _, ok := needsOf(parse(t, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)); ok {
		t.Error("a client can be asked for tools")
	}
}
