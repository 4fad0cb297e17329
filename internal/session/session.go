package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session/eventstore"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
	"github.com/fjmcp/fjmcp-broker/internal/session/startup"
	"github.com/fjmcp/fjmcp-broker/internal/session/subscription"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// Session is one MCP session, running or dormant.
type Session struct {
	manager *Manager
	label   string        // by which the journal knows it
	row     model.Session // UnitID, LastUsedAt, ReadOnly, LogLevel, Server and Protocol under manager.mu, the rest constant

	gate   sync.RWMutex   // read-held while a call begins, written while the mode is raised
	limits limits         // of its unit
	queue  *startup.Queue // its head starts units, so that concurrent requests start one
	unit   *unit.Unit     // under manager.mu; nil while dormant
	done   chan struct{}

	circuit startup.Breaker // under manager.mu

	streams *eventstore.Hub

	// of a shared session
	server        Server // of its latest unit; under manager.mu
	level         logLevel
	subscriptions *subscription.Set
}

// ID is the Mcp-Session-Id.
func (s *Session) ID() string { return s.row.ID }

// Label is the id the journal knows the session by.
func (s *Session) Label() string { return s.label }

// userName is what its user is called at the forge by now, as far as it has told.
func (s *Session) userName() string {
	user, err := s.manager.cfg.Store.User(context.Background(), s.row.UserID)
	if err != nil {
		return s.row.UserName // as when the session was loaded
	}
	return user.Name
}

// Access names whose session it is.
func (s *Session) Access() model.Access {
	return model.Access{
		User: model.User{ID: s.row.UserID, Subject: s.row.Subject, Name: s.userName()}, ClientID: s.row.ClientID, Client: s.row.ClientName, GrantID: s.row.GrantID,
	}
}

// Shared reports whether it serves requests that name no session.
func (s *Session) Shared() bool { return s.row.Kind == model.SessionShared }

// Protocol is the negotiated MCP protocol version; of a shared session "" until it
// first ran.
func (s *Session) Protocol() string {
	s.manager.mu.Lock()
	defer s.manager.mu.Unlock()
	return s.row.Protocol
}

// Done is closed when the session has ended for good.
func (s *Session) Done() <-chan struct{} { return s.done }

func (s *Session) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// Call sends a request, waking the session if it is dormant: requests that come
// meanwhile are sent in their order. What access may do beyond the session's mode,
// the session may do from then on. Errors are those of Manager.Create,
// model.ErrNotFound when the session has ended or may do more than access, and
// relay.ErrTooManyCalls.
func (s *Session) Call(ctx context.Context, access model.Access, request mcp.Message) (*Call, error) {
	leave, err := s.manager.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	var call *Call
	err = s.use(ctx, access, func(u *unit.Unit, placed func()) (err error) {
		call, err = u.Call(ctx, request, placed)
		return err
	})
	if err != nil {
		return nil, err
	}
	if request.Method == mcp.MethodSetLoggingLevel {
		s.keepLevel(ctx, string(request.Raw))
	}
	return call, nil
}

// keepLevel notes the log level for the session's next units.
func (s *Session) keepLevel(ctx context.Context, request string) {
	m := s.manager
	m.mu.Lock()
	same := s.row.LogLevel == request
	s.row.LogLevel = request
	m.mu.Unlock()
	if same {
		return
	}
	if err := m.cfg.Store.SetSessionLogLevel(ctx, s.row.ID, request); err != nil {
		m.cfg.Log.Warn("cannot store a session's log level", "session", s.label, "error", err)
	}
}

// Tell sends what asks for no response: a notification, or an answer to what the backend
// asked. A dormant session is not woken for it: it would have nothing to refer to. Errors
// are those of relay.Relay.Respond but ErrClosed.
func (s *Session) Tell(ctx context.Context, m mcp.Message) (err error) {
	u := s.running()
	switch {
	case m.Kind == mcp.Notification && u != nil:
		err = u.Notify(ctx, m)
	case u != nil:
		err = u.Respond(m)
	case m.Kind != mcp.Notification:
		err = relay.ErrNoQuestion
	}
	if errors.Is(err, relay.ErrClosed) {
		return nil
	}
	return err
}

// use runs do on a live unit if access may have it. do calls placed once it has its
// place among the requests and is about to wait.
func (s *Session) use(ctx context.Context, access model.Access, do func(u *unit.Unit, placed func()) error) error {
	if err := s.adjust(ctx, access); err != nil {
		return err
	}
	s.gate.RLock()
	defer s.gate.RUnlock()
	if alike, err := s.boundAlike(ctx, access); err != nil || !alike || !s.covered(access) {
		return cmp.Or(err, model.ErrNotFound)
	}
	u, err := s.try(ctx, do)
	if u == nil || !errors.Is(err, relay.ErrClosed) {
		return err
	}
	if err := u.AwaitGone(ctx); err != nil { // it ended between the look and the use
		return err
	}
	_, err = s.try(ctx, do)
	return err
}

// try runs do on the running unit; on one that had to start, in the order of arrival.
// It returns the unit it tried.
func (s *Session) try(ctx context.Context, do func(u *unit.Unit, placed func()) error) (*unit.Unit, error) {
	u, leave := s.running(), func() {}
	if u == nil || s.queue.Waiting() > 0 {
		var err error
		if leave, err = s.queue.Join(ctx); err != nil {
			return nil, err
		}
		if u, err = s.awake(ctx, leave); err != nil {
			return nil, err
		}
		defer leave()
	}
	_, err := s.align(ctx, u, s.manager.cfg.Rights.OfLogin)
	if err == nil {
		err = u.Prepare(ctx)
	}
	if err != nil {
		return u, err
	}
	return u, do(u, leave)
}

func (s *Session) running() *unit.Unit {
	s.manager.mu.Lock()
	defer s.manager.mu.Unlock()
	if s.unit == nil || s.unit.Closed() {
		return nil
	}
	return s.unit
}

func (s *Session) servedBy(u *unit.Unit) bool {
	s.manager.mu.Lock()
	defer s.manager.mu.Unlock()
	return s.unit == u
}

// awake returns the running unit, or one that it has had started, and leaving the head is
// then the caller's. A client that leaves does not end the start: it goes on at the head,
// for the session's next request.
func (s *Session) awake(ctx context.Context, leave func()) (*unit.Unit, error) {
	if u := s.running(); u != nil {
		return u, nil
	}
	starting, open := context.WithoutCancel(ctx), s.gate.RUnlock
	if !s.gate.TryRLock() { // the mode is about to be raised, for which a start must not go on behind
		starting, open = ctx, func() {}
	}
	type result struct {
		unit *unit.Unit
		err  error
	}
	over, left := make(chan result), make(chan struct{})
	go func() {
		u, err := s.awaken(starting)
		if err != nil {
			s.queue.Failed(starting, err)
			leave()
		}
		open()
		select {
		case over <- result{u, err}:
		case <-left:
			leave()
		}
	}()
	select {
	case r := <-over:
		return r.unit, r.err
	case <-ctx.Done():
		close(left)
		return nil, context.Cause(ctx)
	}
}

// awaken returns the running unit, or starts one, brings it to where the last one was
// left, and makes it the session's. Called at the queue's head.
func (s *Session) awaken(ctx context.Context) (*unit.Unit, error) {
	if u := s.running(); u != nil {
		return u, nil
	}
	if s.ended() {
		return nil, model.ErrNotFound
	}
	if err := s.admit(); err != nil {
		return nil, err
	}
	ctx, a := s.attempt(ctx)
	defer a.over()
	m := s.manager
	begin := s.replay
	if s.row.Kind == model.SessionShared {
		begin = s.discover
	}
	u, err := m.start(ctx, s, begin)
	if err != nil {
		return nil, a.outcome(err)
	}
	if err := m.cfg.Store.SetSessionUnit(ctx, s.row.ID, u.ID()); err != nil {
		u.Stop(ctx)
		if errors.Is(err, model.ErrNotFound) { // another process has ended it
			m.remove(s)
		}
		return nil, a.outcome(err)
	}
	if m.serve(s, u) {
		return u, nil
	}
	s.recordDormant(u, false)
	if fail := u.Failure(); fail != nil {
		return nil, fail
	}
	return nil, relay.ErrClosed
}

// replay repeats what the client began with, and the log level it set.
func (s *Session) replay(ctx context.Context, u *unit.Unit) error {
	initialize, err := mcp.Parse([]byte(s.row.Initialize))
	if err != nil {
		return fmt.Errorf("cannot replay initialize: %w", err)
	}
	if err := u.Replay(ctx, initialize); err != nil {
		return err
	}
	s.manager.mu.Lock()
	level := s.row.LogLevel
	s.manager.mu.Unlock()
	if level == "" {
		return nil
	}
	request, err := mcp.Parse([]byte(level))
	if err != nil {
		return fmt.Errorf("cannot replay the log level: %w", err)
	}
	if err := u.Ask(ctx, request.Method, request.Params()); !errors.Is(err, unit.ErrRefused) { // as it did then
		return err
	}
	return nil
}

func (s *Session) event(kind audit.Kind, outcome string) audit.Event {
	return audit.Event{
		Kind: kind, User: s.userName(), UserID: s.row.Subject, Client: s.row.ClientName, ClientID: model.ShortID(s.row.ClientID),
		ReadOnly: audit.YesNo(s.ReadOnly()), Session: s.Label(), Outcome: outcome,
	}
}

// streamMemory bounds what a session keeps for clients that come back, bytes.
const streamMemory = 4 << 20

// NewStreams returns the event streams of a session to come.
func NewStreams() *eventstore.Hub { return eventstore.NewHub(streamMemory) }

func newSession(m *Manager, streams *eventstore.Hub, row model.Session) *Session {
	return &Session{
		manager: m, label: model.SessionLabel(row.ID), row: row, queue: startup.NewQueue(), done: make(chan struct{}),
		streams: streams, subscriptions: subscription.NewSet(),
	}
}

// Streams are the session's event streams. They outlive its units.
func (s *Session) Streams() *eventstore.Hub { return s.streams }

// hear takes what a backend says besides all calls, and reports whether somebody
// hears it. What is to be answered needs a listener; what is to be known waits for
// one. In a shared session nobody can tell whom a question or a log message is
// for.
func (s *Session) hear(raw []byte) bool {
	m, err := mcp.Parse(raw)
	if err != nil {
		return false
	}
	if s.row.Kind == model.SessionShared {
		s.subscriptions.Publish(m)
		return false
	}
	heard := s.streams.Heard()
	if m.Kind == mcp.Request && !heard {
		return false
	}
	return s.streams.Own().Append(raw) && heard
}

// Carry says that the caller takes what c yields to l, one of the session's
// streams, and the function it returns, that it takes no more. A call that is
// suspended meanwhile is carried on by the next process.
func (s *Session) Carry(c *Call, l *eventstore.Log) (done func()) {
	c.SetTag(strconv.Itoa(l.ID()))
	return l.Fill()
}

// Carried is the stream that the process before carried a restored call to; nil
// when its client cannot come back for it.
func (s *Session) Carried(c *Call) *eventstore.Log {
	id, err := strconv.Atoi(c.Tag())
	if err != nil {
		return nil
	}
	return s.streams.Log(id)
}
