package unit_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

func denying(rule string) policy.Limits {
	return policy.Limits{{Grants: []policy.Cover{{}}, Denials: []policy.Cover{{Rule: rule, Toolsets: []string{rule}}}}}
}

// sent are the modes and limits that fjmcp-session was given.
func (c *child) sent(t *testing.T) string {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, m := range c.modes {
		rules := "none"
		if m.Limits != nil {
			l, err := policy.ParseLimits(m.Limits)
			if err != nil {
				t.Fatal(err)
			}
			rules = ""
			for _, r := range l {
				rules += "+" + r.Denials[0].Rule
			}
		}
		all = append(all, string(m.Mode)+" "+rules)
	}
	return strings.Join(all, ", ")
}

func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// A unit gets its limits before its backend is asked anything. While a call runs, other limits
// are narrowed at once to what both allow, and only after it are they what was asked for.
func TestLimitsOfAUnit(t *testing.T) {
	answer := make(chan string)
	c := &child{answer: func(method string) string {
		if method == mcp.MethodToolsCall {
			return <-answer
		}
		return `"result":{}`
	}}
	u, _ := runAs(t, c, time.Minute, denying("wiki"))
	waitFor(t, "its first limits", func() bool { return c.sent(t) == "read_write +wiki" && u.LimitsKey() == denying("wiki").Key() })
	request, err := mcp.Parse([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}`))
	if err != nil {
		t.Fatal(err)
	}
	call, err := u.Call(t.Context(), request, func() {})
	if err != nil {
		t.Fatal(err)
	}
	set := make(chan error, 1)
	go func() { set <- u.SetMode(t.Context(), false, denying("issues")) }()
	waitFor(t, "both limits", func() bool { return strings.HasSuffix(c.sent(t), ", read_write +wiki+issues") })
	select {
	case err := <-set:
		t.Fatalf("the limits were changed under a call: %v", err)
	case answer <- `"result":{"content":[]}`:
	}
	if _, err := call.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-set; err != nil {
		t.Fatal(err)
	}
	for _, change := range []struct {
		readOnly bool
		limits   policy.Limits
		want     string
	}{
		{true, denying("issues"), "read_only +issues"},
		{true, denying("files"), "read_only +issues+files, read_only +files"},
		{false, nil, "read_only +files, read_write none"},
		{true, denying("wiki"), "read_only +wiki, read_only +wiki"},
	} {
		before := c.sent(t)
		if err := u.SetMode(t.Context(), change.readOnly, change.limits); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimPrefix(c.sent(t), before+", "); got != change.want || u.LimitsKey() != change.limits.Key() {
			t.Errorf("got %q, want %q", got, change.want)
		}
	}
}

// An fjmcp-session from before an upgrade knows of no limits: it must not run as if it held
// them.
func TestOlderSessionsHoldNoLimits(t *testing.T) {
	answer := func(string) string { return `"result":{}` }
	u, _ := runAs(t, &child{older: true, answer: answer}, time.Minute, nil)
	if err := u.SetMode(t.Context(), true, nil); err != nil {
		t.Errorf("without a policy: %v", err)
	}
	if err := u.SetMode(t.Context(), true, denying("wiki")); err == nil || !strings.Contains(err.Error(), "does not hold the limits") {
		t.Errorf("got %v", err)
	}
	u, c := runAs(t, &child{older: true, answer: answer}, time.Minute, denying("wiki"))
	initialize, err := mcp.Parse([]byte(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Initialize(t.Context(), initialize); err == nil || c.methods() != "" {
		t.Errorf("it was begun: %v; its backend heard %q", err, c.methods())
	}
}

func TestLimitsThatDoNotFit(t *testing.T) {
	huge := policy.Limits{{Grants: []policy.Cover{{Owners: []string{strings.Repeat("x", control.MaxPacket)}}}}}
	u, _ := run(t, time.Minute, func(string) string { return `"result":{}` })
	if err := u.SetMode(context.Background(), false, huge); err == nil {
		t.Error("they were set")
	}
	if _, err := unit.New(unit.Config{Now: time.Now, Log: slog.New(slog.DiscardHandler)}, unit.Spec{Session: "s", UserID: "u", Limits: huge}); err == nil || !strings.Contains(err.Error(), fmt.Sprint(control.MaxPacket)) {
		t.Errorf("got %v", err)
	}
}
