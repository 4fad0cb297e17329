package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

// handOver suspends r and goes on with what its State says as JSON.
func handOver(t *testing.T, r *Relay, cfg Config) *Relay {
	t.Helper()
	state, err := r.Suspend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	cfg.State = new(State)
	if err := json.Unmarshal(raw, cfg.State); err != nil {
		t.Fatal(err)
	}
	return over(t, r.cfg.Socket, cfg)
}

// restored finds a call by its tag.
func restored(t *testing.T, r *Relay, tag string) *Call {
	t.Helper()
	for _, c := range r.Restored() {
		if c.Tag() == tag {
			return c
		}
	}
	t.Fatalf("no call %q was restored", tag)
	return nil
}

// Whatever a relay has to do, the next one does: answers in any order under the
// clients' ids, what was not taken, what is open, and whose turn it is.
func TestHandOver(t *testing.T) {
	clock := &clock{real: Gather}
	r, child := serial(t, Config{Epoch: 1, AfterFunc: clock.after})
	ids := map[string]json.RawMessage{}
	for name, m := range map[string]string{
		"odd":       `{"jsonrpc":"2.0","id":"<\u0061&\">","method":"a","params":{"_meta":{"progressToken":[1 ,"<"]}}}`,
		"answered":  `{"jsonrpc":"2.0","id":1.50,"method":"a"}`,
		"cancelled": `{"jsonrpc":"2.0","id":3,"method":"tools/list"}`,
		"standing":  strings.Replace(listen, "%s", `"s"`, 1),
		"asked":     `{"jsonrpc":"2.0","id":4,"method":"tools/call"}`,
	} {
		c := call(t, r, m)
		c.SetTag(name)
		ids[name] = child.reads().ID()
		if name == "cancelled" {
			c.Cancel("")
			child.reads()
		}
	}
	child.writes(ask, 1)
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{"n":1.0}}`, ids["answered"])
	child.sync()
	fmt.Fprint(child.conn, `{"jsonrpc":"2.0","id":`)

	old := r
	r = handOver(t, r, Config{Epoch: 2, AfterFunc: clock.after})
	if _, err := old.Start(t.Context(), message(t, `{"jsonrpc":"2.0","id":1,"method":"a"}`)); !errors.Is(err, ErrSuspended) {
		t.Errorf("the old relay took a call: %v", err)
	}
	if _, err := old.Suspend(t.Context()); !errors.Is(err, ErrSuspended) {
		t.Errorf("the old relay was suspended again: %v", err)
	}
	old.Close()
	child.writes(`%s,"result":{"after":"<"}}`, ids["odd"])
	if got := next(t, restored(t, r, "odd")); got != `{"jsonrpc":"2.0","id":"<\u0061&\">","result":{"after":"<"}}` {
		t.Errorf("got %s", got)
	}
	if got := next(t, restored(t, r, "answered")); got != `{"jsonrpc":"2.0","id":1.50,"result":{"n":1.0}}` {
		t.Errorf("got %s", got)
	}
	if e, err := restored(t, r, "cancelled").Next(t.Context()); err != nil || !e.Final || e.Raw != nil || clock.waiting() != 1 {
		t.Errorf("got %+v, %v; %d timers", e, err, clock.waiting())
	}
	c := restored(t, r, "asked")
	q1 := asked(t, c)
	call(t, r, `{"jsonrpc":"2.0","id":5,"method":"tools/list"}`).SetTag("list")
	ids["list"] = child.reads().ID()
	child.writes(ask, 2) // of the call that waits for an answer, not of the other
	q2 := asked(t, c)
	_, second := tool(t, r, child, "b") // its turn, since asked waits
	if string(second) == string(ids["asked"]) {
		t.Error("an id came twice")
	}
	respond(t, r, q1) // one more is open: nothing to wait for
	child.wantAnswer("q1", false)
	respond(t, r, q2)
	r = handOver(t, r, Config{Epoch: 3})
	begun := queue(t, t.Context(), r, "c")
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, second)
	child.wantAnswer("q2", false)
	for _, name := range []string{"standing", "asked", "list"} {
		child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, ids[name])
		next(t, restored(t, r, name))
	}
	<-begun
	if n := r.InFlight(); n != 2 { // and the cancelled one
		t.Errorf("%d calls in flight", n)
	}
}

// What the child has not read yet is written by the next relay, from where the last
// one stopped within a line.
func TestUnwrittenOutputIsHandedOver(t *testing.T) {
	r, child := start(t, Config{})
	pad := strings.Repeat("x", 500<<10)
	for i := range 2 {
		call(t, r, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"a","params":{"pad":%q}}`, i, pad))
	}
	r = handOver(t, r, Config{Epoch: 1})
	call(t, r, `{"jsonrpc":"2.0","id":2,"method":"a","params":{"pad":"x"}}`)
	for _, want := range []string{pad, pad, "x"} {
		if got := child.reads().ParamString("pad"); got != want {
			t.Fatalf("child read %d bytes, want %d", len(got), len(want))
		}
	}
}

// After a kill the rest of a line is thrown away, a whole line is not, and answers
// to calls that nobody remembers are.
func TestResync(t *testing.T) {
	for _, rest := range []string{strings.Repeat("x", 1000) + `rest of a line"}}`, `{"x":1}}`, ""} {
		t.Run(rest[max(0, len(rest)-10):], func(t *testing.T) { resync(t, rest) })
	}
}

func resync(t *testing.T, rest string) {
	first, child := start(t, Config{Epoch: 1})
	call(t, first, `{"jsonrpc":"2.0","id":1,"method":"a"}`)
	id := child.reads().ID()
	if _, err := first.Suspend(t.Context()); err != nil { // as if killed: its State is lost
		t.Fatal(err)
	}
	if rest != "" {
		child.writes("%s", rest)
	}
	child.writes(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{"of":"the old epoch"}}`, id)
	var log strings.Builder
	changes := make(chan []byte, 10)
	r := over(t, first.cfg.Socket, Config{Epoch: 2, Resync: true, Log: logTo(&log), Other: func(raw []byte) bool { changes <- raw; return true }})
	c := call(t, r, `{"jsonrpc":"2.0","id":1,"method":"a"}`)
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, child.reads().ID())
	if got := next(t, c); got != `{"jsonrpc":"2.0","id":1,"result":{}}` || log.Len() != 0 || len(changes) != 1 {
		t.Errorf("got %s, %d changes; logged %s", got, len(changes), &log)
	}
}

// However hand-overs, calls and answers come to stand, every call is answered once,
// with its own answer.
func TestHandOversUnderLoad(t *testing.T) {
	const seeds, clients, calls, handOvers = 20, 4, 30, 10
	for seed := range uint64(seeds) {
		r, child := start(t, Config{})
		go child.answersOutOfOrder(rand.New(rand.NewPCG(seed, 1)))
		l := &line{t: t, relay: r, moved: make(chan struct{}), count: sync.NewCond(new(sync.Mutex)), ended: map[string]int{}}
		var clientsDone sync.WaitGroup
		for i := range clients {
			clientsDone.Go(func() {
				for j := range calls {
					l.call(fmt.Sprintf("%d-%d", i, j))
				}
			})
		}
		for i := range handOvers {
			l.await((i + 1) * clients * calls / (handOvers + 1))
			l.handOver(uint64(i + 1))
		}
		clientsDone.Wait()
		for name, n := range l.ended {
			if n != 1 {
				t.Errorf("seed %d: call %s was answered %d times", seed, name, n)
			}
		}
		if len(l.ended) != clients*calls {
			t.Errorf("seed %d: %d calls were answered", seed, len(l.ended))
		}
	}
}

// answersOutOfOrder takes what requests there are and answers one of them at
// random, in pieces, with progress before it.
func (c *child) answersOutOfOrder(random *rand.Rand) {
	requests := make(chan mcp.Message, 100)
	go func() {
		defer close(requests)
		for c.in.Scan() {
			m, err := mcp.Parse([]byte(c.in.Text()))
			if err != nil {
				c.t.Errorf("child read %q: %v", c.in.Text(), err)
				return
			}
			requests <- m
		}
	}()
	var held []mcp.Message
	for m := range requests {
		for held = append(held, m); len(held) > 0; {
			for range random.IntN(10) {
				runtime.Gosched()
			}
			for len(requests) > 0 {
				held = append(held, <-requests)
			}
			i := random.IntN(len(held))
			out := fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":1}}`+"\n", held[i].ID())
			out += fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":%s}`+"\n", held[i].ID(), held[i].Params())
			held = append(held[:i], held[i+1:]...)
			for len(out) > 0 {
				n := min(1+random.IntN(200), len(out))
				if _, err := io.WriteString(c.conn, out[:n]); err != nil {
					return
				}
				out = out[n:]
			}
		}
	}
}

// line is a relay that is handed over while it is used.
type line struct {
	t *testing.T

	mu    sync.RWMutex // held while a call begins, written while the relay changes
	relay *Relay
	moved chan struct{} // closed when it has

	count *sync.Cond // signalled at every answer
	ended map[string]int
}

// await returns when n calls have been answered.
func (l *line) await(n int) {
	l.count.L.Lock()
	defer l.count.L.Unlock()
	for len(l.ended) < n {
		l.count.Wait()
	}
}

func (l *line) handOver(epoch uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.relay = handOver(l.t, l.relay, Config{Epoch: epoch})
	close(l.moved)
	l.moved = make(chan struct{})
}

// call makes one call, which goes on in the next relay when its own is suspended.
func (l *line) call(name string) {
	request := fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"method":"a","params":{"name":%[1]q,"_meta":{"progressToken":%[1]q},"pad":%q}}`, name, strings.Repeat("x", len(name)*100))
	l.mu.RLock()
	c, err := l.relay.Start(context.Background(), message(l.t, request))
	moved := l.moved
	if err == nil {
		c.SetTag(name)
	}
	l.mu.RUnlock()
	for {
		if err == nil {
			var e Event
			if e, err = c.Next(context.Background()); err == nil && !e.Final {
				if got := message(l.t, string(e.Raw)).ParamString("progressToken"); got != name {
					l.t.Errorf("call %s got progress of %s", name, got)
				}
				continue
			}
			if err == nil {
				l.answered(name, e.Raw)
				return
			}
		}
		if !errors.Is(err, ErrSuspended) {
			l.t.Errorf("call %s: %v", name, err)
			return
		}
		<-moved
		l.mu.RLock()
		c, err = restored(l.t, l.relay, name), nil
		moved = l.moved
		l.mu.RUnlock()
	}
}

func (l *line) answered(name string, raw []byte) {
	var got struct {
		ID     string
		Result struct{ Name string }
	}
	if json.Unmarshal(raw, &got) != nil || got.ID != name || got.Result.Name != name {
		l.t.Errorf("call %s got %s", name, raw)
	}
	l.count.L.Lock()
	defer l.count.L.Unlock()
	l.ended[name]++
	l.count.Broadcast()
}
