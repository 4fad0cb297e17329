package session_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	launchclient "github.com/fjmcp/fjmcp-broker/internal/launcher/client"
	"github.com/fjmcp/fjmcp-broker/internal/launcher/credential"
	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
)

// scripted is a launchclient.Launcher whose units are goroutines over the real sockets.
// It reaps by the test's clock, and notes what must never be.
type scripted struct {
	now          func() time.Time
	token        credential.TokenFunc
	max, perUser int

	mu       sync.Mutex
	units    map[string]*child
	starts   int
	refusals int
	executed map[int]int // calls by number
	order    []int       // the same, as they came
	wrong    []string

	attempts    atomic.Int32  // to start
	slow        sync.Mutex    // while held, Start waits
	refuse      error         // the outcome of Start
	stillborn   bool          // units end before they answer
	mute        chan struct{} // gets a value when a unit is asked and does not answer; nil usually
	untouchable error         // the outcome of Touch
}

var _ launchclient.Launcher = (*scripted)(nil)

func newScripted(now func() time.Time, max, perUser int) *scripted {
	return &scripted{now: now, max: max, perUser: perUser, units: map[string]*child{}, executed: map[int]int{}}
}

// child is one unit: fjmcp-session and its backend.
type child struct {
	of                *scripted
	id, session, user string // user: the forge's grant to the broker, of which each has one
	stdin             *os.File
	mcp               net.Conn // its standard output
	control           *control.Conn
	idle              time.Duration
	ends              time.Time

	// under of.mu
	touched  time.Time
	going    bool // its end is certain and not seen yet
	held     map[int]json.RawMessage
	token    string
	readOnly bool
}

// Start implements launchclient.Launcher.
func (l *scripted) Start(ctx context.Context, s launchclient.Spec) error {
	l.attempts.Add(1)
	if err := l.refused(); err != nil {
		return err
	}
	token, err := l.token(s.UnitID)
	if err != nil {
		return err
	}
	c := &child{of: l, id: s.UnitID, session: s.SessionID, user: grantIn(token), idle: s.Idle, token: token, readOnly: true, held: map[int]json.RawMessage{}}
	if c.mcp, err = net.FileConn(s.MCP); err != nil {
		return err
	}
	if c.control, err = control.FromFile(s.Control); err != nil {
		c.mcp.Close()
		return err
	}
	first, stdin, ok, err := c.control.Waiting()
	if err != nil || !ok || stdin == nil {
		return fmt.Errorf("no standard input came first: %v, %w", first, err)
	}
	c.stdin = stdin
	l.mu.Lock()
	defer l.mu.Unlock()
	l.starts++
	c.touched, c.ends = l.now(), l.now().Add(s.MaxAge)
	l.check(c)
	l.units[c.id] = c
	go c.obey(first)
	go c.serve()
	return nil
}

// grantIn is the forge's grant that an access token is of, as it says itself.
func grantIn(token string) string {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	text, _ := base64.RawURLEncoding.DecodeString(payload)
	var claims struct {
		Grant int `json:"gnt"`
	}
	if err := json.Unmarshal(text, &claims); err != nil {
		panic("no token of the fake forge: " + token)
	}
	return fmt.Sprint("grant ", claims.Grant)
}

func (l *scripted) refused() error {
	l.slow.Lock()
	defer l.slow.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse != nil {
		l.refusals++
	}
	return l.refuse
}

// check is called with mu held, before c is one of the units.
func (l *scripted) check(c *child) {
	own := 0
	for _, o := range l.units {
		if o.session == c.session && !o.going {
			l.wrong = append(l.wrong, fmt.Sprintf("session %s has two units, %s and %s", c.session, o.id, c.id))
		}
		if o.user == c.user {
			own++
		}
	}
	if own >= l.perUser || len(l.units) >= l.max {
		l.wrong = append(l.wrong, fmt.Sprintf("%d units of %s and %d in all when another starts", own, c.user, len(l.units)))
	}
}

// Touch implements launchclient.Launcher.
func (l *scripted) Touch(_ context.Context, id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.units[id]
	switch {
	case l.untouchable != nil:
		return l.untouchable
	case c == nil || c.going:
		return launchclient.ErrGone
	}
	c.touched = l.now()
	return nil
}

// Stop implements launchclient.Launcher.
func (l *scripted) Stop(_ context.Context, id string) error {
	if c := l.unit(id); c != nil {
		c.end(control.Message{Type: control.TypeExited})
	}
	return nil
}

// List implements launchclient.Launcher.
func (l *scripted) List(context.Context) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []string
	for id := range l.units {
		ids = append(ids, id)
	}
	return ids, nil
}

// Check implements launchclient.Launcher.
func (l *scripted) Check(context.Context) (string, error) { return "", nil }

// Close implements launchclient.Launcher.
func (l *scripted) Close() error { return nil }

func (l *scripted) unit(id string) *child {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.units[id]
}

// of returns the unit of a session, by its label.
func (l *scripted) of(session string) *child {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.units {
		if c.session == session && !c.going {
			return c
		}
	}
	return nil
}

// reap is what the timers do: units that were not touched for their idle time and
// work on nothing end, and all that are too old.
func (l *scripted) reap() {
	l.mu.Lock()
	var over []*child
	for _, c := range l.units {
		switch {
		case !l.now().Before(c.ends), len(c.held) == 0 && l.now().Sub(c.touched) >= c.idle:
			over = append(over, c)
		default:
			c.touched = l.now() // the broker's tick is of the real clock
		}
	}
	l.mu.Unlock()
	for _, c := range over {
		c.end(control.Message{Type: control.TypeExited})
	}
}

// times is how often the call of that number was carried out.
func (l *scripted) times(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.executed[n]
}

// end ends the unit with these last words.
func (c *child) end(last control.Message) {
	c.of.mu.Lock()
	known := c.of.units[c.id] == c
	delete(c.of.units, c.id)
	c.of.mu.Unlock()
	if !known {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.control.Send(ctx, last)
	c.stdin.Close()
	c.mcp.Close()
	c.control.Close()
}

func (c *child) crash() {
	c.end(control.Message{Type: control.TypeFailed, Reason: control.ReasonCrashed, Detail: "told to crash", LastLines: []string{"panic"}})
}

// obey takes what the broker says on the control socket, m first.
func (c *child) obey(m control.Message) {
	for err := error(nil); err == nil; m, err = c.control.Receive(context.Background()) {
		c.of.mu.Lock()
		switch m.Type {
		case control.TypeToken:
			c.token = m.Token
		case control.TypeMode:
			c.readOnly = m.Mode != control.ModeReadWrite
		}
		c.of.mu.Unlock()
		if m.ID != "" {
			_ = c.control.Send(context.Background(), control.Message{Type: control.TypeAck, ID: m.ID})
		}
	}
}

// serve is the backend.
func (c *child) serve() {
	in := bufio.NewScanner(c.stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var m struct {
			ID     json.RawMessage
			Method string
			Params struct {
				Name      string
				Arguments struct{ N int }
			}
		}
		if err := json.Unmarshal(in.Bytes(), &m); err != nil {
			c.of.note("a backend was sent %q", in.Bytes())
			return
		}
		if m.ID != nil {
			c.request(m.ID, m.Method, m.Params.Name, m.Params.Arguments.N)
		}
	}
}

func (l *scripted) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
}

func (c *child) request(id json.RawMessage, method, tool string, n int) {
	switch {
	case method == "initialize" && c.unable():
	case method == "initialize":
		c.say(id, `"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"scripted","version":"1"}}`)
	case method == "ping":
		c.say(id, `"result":{}`)
	case method != "tools/call":
		c.say(id, `"error":{"code":-32601,"message":"Method not found"}`)
	default:
		c.of.mu.Lock()
		c.of.executed[n]++
		c.of.order = append(c.of.order, n)
		if tool == "hold" {
			c.held[n] = id
		}
		c.of.mu.Unlock()
		if tool != "hold" {
			c.say(id, answerTo(n))
		}
	}
}

// unable reports whether the unit is not to answer its first request.
func (c *child) unable() bool {
	c.of.mu.Lock()
	stillborn, mute := c.of.stillborn, c.of.mute
	c.of.mu.Unlock()
	if stillborn {
		c.crash()
	}
	if mute != nil {
		mute <- struct{}{}
	}
	return stillborn || mute != nil
}

func answerTo(n int) string {
	return fmt.Sprintf(`"result":{"content":[{"type":"text","text":"answer to call %d"}]}`, n)
}

// release answers a call that is held.
func (c *child) release(n int) {
	c.of.mu.Lock()
	id := c.held[n]
	delete(c.held, n)
	c.of.mu.Unlock()
	c.say(id, answerTo(n))
}

func (c *child) say(id json.RawMessage, rest string) {
	_, _ = fmt.Fprintf(c.mcp, `{"jsonrpc":"2.0","id":%s,%s}`+"\n", id, rest)
}

// slowKeeper keeps nothing while it is held.
type slowKeeper struct {
	*keeper
	held sync.Mutex
}

// Keep implements unit.Keeper.
func (k *slowKeeper) Keep(ctx context.Context, id string, files ...*os.File) error {
	k.held.Lock()
	defer k.held.Unlock()
	return k.keeper.Keep(ctx, id, files...)
}
