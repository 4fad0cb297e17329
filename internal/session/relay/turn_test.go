package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

const ask = `{"jsonrpc":"2.0","id":"q%d","method":"elicitation/create","params":{}}`

// tool starts a tools/call that need not wait for its turn.
func tool(t *testing.T, r *Relay, child *child, id string) (*Call, json.RawMessage) {
	t.Helper()
	c := call(t, r, `{"jsonrpc":"2.0","id":"`+id+`","method":"tools/call","params":{"name":"t"}}`)
	return c, child.reads().ID()
}

// queue starts a tools/call that has to wait, and returns when it does.
func queue(t *testing.T, ctx context.Context, r *Relay, id string) <-chan *Call {
	t.Helper()
	waiting := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.turns.waiting)
	}
	before := waiting()
	begun := make(chan *Call, 1)
	m := message(t, `{"jsonrpc":"2.0","id":"`+id+`","method":"tools/call","params":{"name":"t"}}`)
	go func() {
		c, _ := r.Start(ctx, m)
		begun <- c
	}()
	for waiting() == before {
		runtime.Gosched()
	}
	return begun
}

// serial returns a relay whose child has asked something.
func serial(t *testing.T, cfg Config) (*Relay, *child) {
	t.Helper()
	r, child := start(t, cfg)
	child.writes(ask, 0)
	if m := child.reads(); !m.IsError() {
		t.Fatalf("child read %s", m.Raw)
	}
	return r, child
}

// asked takes the question that comes next.
func asked(t *testing.T, c *Call) string {
	t.Helper()
	e, err := c.Next(t.Context())
	if err != nil || e.Question == "" || string(message(t, string(e.Raw)).ID()) != `"`+e.Question+`"` {
		t.Fatalf("got %s, %v; want a question", e.Raw, err)
	}
	return e.Question
}

func respond(t *testing.T, r *Relay, question string) {
	t.Helper()
	if err := r.Respond(message(t, `{"jsonrpc":"2.0","id":"`+question+`","result":{}}`)); err != nil {
		t.Fatal(err)
	}
}

// wantAnswer reads the child's next line, which must answer its question.
func (c *child) wantAnswer(id string, failed bool) {
	c.t.Helper()
	if m := c.reads(); m.Kind != mcp.Response || string(m.ID()) != `"`+id+`"` || m.IsError() != failed {
		c.t.Fatalf("child read %s, want an answer to %s", m.Raw, id)
	}
}

func TestCallsTakeTurnsOnceTheChildHasAsked(t *testing.T) {
	r, child := serial(t, Config{})
	a, first := tool(t, r, child, "a")
	b, c := queue(t, t.Context(), r, "b"), queue(t, t.Context(), r, "c")
	l := call(t, r, `{"jsonrpc":"2.0","id":"l","method":"tools/list"}`) // takes no turn
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, child.reads().ID())
	next(t, l)
	for i, want := range []<-chan *Call{b, c} {
		child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, first)
		next(t, a)
		first, a = child.reads().ID(), <-want
		if got, want := string(a.ClientID), []string{`"b"`, `"c"`}[i]; got != want {
			t.Fatalf("%s had the turn, want %s", got, want)
		}
	}
}

// A question belongs to the call that has the turn, and then to the one that waits
// for an answer; the answer waits for the turn and Respond does not.
func TestQuestionsInTurns(t *testing.T) {
	r, child := serial(t, Config{})
	a, first := tool(t, r, child, "a")
	begun := queue(t, t.Context(), r, "b")
	child.writes(ask, 1)
	q1 := asked(t, a) // gives the turn up
	b, second := <-begun, child.reads().ID()
	respond(t, r, q1) // waits for b
	child.writes(ask, 2)
	q2 := asked(t, b) // gives the turn to a's answer
	child.wantAnswer("q1", false)
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, first)
	next(t, a)
	child.writes(ask, 3) // nobody has the turn, b alone waits
	q3 := asked(t, b)
	respond(t, r, q2)
	child.wantAnswer("q2", false)
	if err := b.Refuse(q3, mcp.CodeInternalError, "no"); err != nil {
		t.Fatal(err)
	}
	child.wantAnswer("q3", true)
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, second)
	next(t, b)
	if _, third := tool(t, r, child, "c"); third == nil || r.turns.running != 1 {
		t.Errorf("%d calls have the turn", r.turns.running)
	}
}

// A client may call while it is asked.
func TestNestedCall(t *testing.T) {
	r, child := serial(t, Config{})
	outer, first := tool(t, r, child, "outer")
	child.writes(ask, 1)
	question := asked(t, outer)
	inner, second := tool(t, r, child, "inner")
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, second)
	next(t, inner)
	respond(t, r, question)
	child.wantAnswer("q1", false)
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, first)
	next(t, outer)
}

// The first question that may belong to several calls is refused; the calls that
// run go on, and none starts beside them.
func TestAmbiguousFirstQuestion(t *testing.T) {
	r, child := start(t, Config{})
	a, first := tool(t, r, child, "a")
	b, second := tool(t, r, child, "b")
	child.writes(ask, 1)
	child.wantAnswer("q1", true)
	begun := queue(t, t.Context(), r, "c")
	child.writes(ask, 2) // as ambiguous
	child.wantAnswer("q2", true)
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, first)
	next(t, a)
	child.writes(ask, 3)
	asked(t, b)
	<-begun
	child.reads()
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, second)
	next(t, b)
	child.wantAnswer("q3", true) // its call is over
}

func TestLeavingTheQueue(t *testing.T) {
	r, child := serial(t, Config{})
	_, first := tool(t, r, child, "a")
	ctx, cancel := context.WithCancel(t.Context())
	b := queue(t, ctx, r, "b")
	c := queue(t, t.Context(), r, "c")
	d := queue(t, t.Context(), r, "d")
	cancel()
	if <-b != nil {
		t.Error("a call whose client has left began")
	}
	if err := r.Notify(t.Context(), message(t, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"c"}}`)); err != nil {
		t.Fatal(err)
	}
	if e, err := (<-c).Next(t.Context()); err != nil || !e.Final || e.Raw != nil {
		t.Errorf("the cancelled call got %+v, %v", e, err)
	}
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, first)
	<-d
	if n := r.InFlight(); n != 1 {
		t.Errorf("%d calls in flight", n)
	}
}

func TestPingIsAnsweredAtOnce(t *testing.T) {
	r, child := start(t, Config{})
	child.writes(`{"jsonrpc":"2.0","id":"p","method":"ping"}`)
	if got := string(child.reads().Raw); got != `{"jsonrpc":"2.0","id":"p","result":{}}` {
		t.Errorf("child read %s", got)
	}
	tool(t, r, child, "a")
	tool(t, r, child, "b") // no turns
}

// The child learns that nobody will answer, however the call ends; the call works
// on and keeps its turn.
func TestOpenQuestionsAreRefused(t *testing.T) {
	for name, end := range map[string]func(*Call){
		"cancelled": func(c *Call) { c.Cancel("") },
		"left":      (*Call).Leave,
	} {
		t.Run(name, func(t *testing.T) {
			clock := &clock{}
			r, child := serial(t, Config{AfterFunc: clock.after})
			a, first := tool(t, r, child, "a")
			child.writes(ask, 1)
			question := asked(t, a)
			end(a)
			child.wantAnswer("q1", true)
			if err := r.Respond(message(t, `{"jsonrpc":"2.0","id":"`+question+`","result":{}}`)); !errors.Is(err, ErrNoQuestion) {
				t.Errorf("a late answer: %v", err)
			}
			begun := queue(t, t.Context(), r, "b")
			child.writes(ask, 2) // it has the turn and no client
			for i := 0; ; i++ {
				if m := child.reads(); m.Kind == mcp.Response {
					break
				} else if m.Method != mcp.MethodCancelled || i > 0 {
					t.Fatalf("child read %s", m.Raw)
				}
			}
			child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, first)
			<-begun
		})
	}
}

// The child may take a question back.
func TestChildCancelsItsQuestion(t *testing.T) {
	r, child := serial(t, Config{})
	a, _ := tool(t, r, child, "a")
	child.writes(ask, 1)
	question := asked(t, a)
	child.writes(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"q1"}}`)
	if got, want := next(t, a), fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%q}}`, question); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if err := a.Refuse(question, 0, ""); !errors.Is(err, ErrNoQuestion) {
		t.Errorf("the question is still open: %v", err)
	}
	queue(t, t.Context(), r, "b") // a works on, with the turn
}
