package subscription_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/session/subscription"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// backend notes what it is asked. It refuses URIs under no:, and is gone once told.
type backend struct {
	mu    sync.Mutex
	asked []string
	gone  bool
}

var errGone = errors.New("gone")

func (b *backend) ask(_ context.Context, method, uri string) error {
	what := map[string]string{mcp.MethodSubscribe: "+", mcp.MethodUnsubscribe: "-"}[method] + uri
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone {
		return errGone
	}
	b.asked = append(b.asked, what)
	if strings.HasPrefix(what, "+no:") {
		return unit.ErrRefused
	}
	return nil
}

func (b *backend) log() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.asked, " ")
}

var all = subscription.Filter{Tools: true, Prompts: true, Resources: true}

// able is a backend that can tell of everything.
var able = unit.Supports{Tools: true, Prompts: true, Resources: true, ResourcesSubscribe: true}

func newSet(t *testing.T, b *backend, can unit.Supports) *subscription.Set {
	t.Helper()
	s := subscription.NewSet()
	if err := s.Attach(t.Context(), b.ask, can); err != nil {
		t.Fatal(err)
	}
	return s
}

func subscribe(t *testing.T, s *subscription.Set, f subscription.Filter) *subscription.Subscription {
	t.Helper()
	sub, err := s.Subscribe(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

func uris(list ...string) subscription.Filter { return subscription.Filter{URIs: list} }

// waitLog waits for what a closed subscription tells in the background.
func waitLog(t *testing.T, b *backend, want string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); b.log() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the backend was asked %q, want %q", b.log(), want)
		}
	}
}

func say(s *subscription.Set, method, uri string) {
	raw := fmt.Sprintf(`{"jsonrpc":"2.0","method":%q,"params":{"uri":%q}}`, method, uri)
	if uri == "" {
		raw = fmt.Sprintf(`{"jsonrpc":"2.0","method":%q}`, method)
	}
	m, err := mcp.Parse([]byte(raw))
	if err != nil {
		panic(err)
	}
	s.Publish(m)
}

// heard takes what waits for sub, up to an update of test://end, which it listens to.
func heard(t *testing.T, s *subscription.Set, sub *subscription.Subscription) string {
	t.Helper()
	say(s, mcp.MethodResourceUpdated, "test://end")
	var list []string
	for {
		raw, err := sub.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m, err := mcp.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		uri := m.ParamString("uri")
		if uri == "test://end" {
			return strings.Join(list, " ")
		}
		list = append(list, strings.TrimPrefix(m.Method, "notifications/")+uri)
	}
}

func TestResourcesAreCounted(t *testing.T) {
	b := &backend{}
	s := newSet(t, b, able)
	one := subscribe(t, s, uris("a", "b", "a", "no:c"))
	if h := one.Honoured(); fmt.Sprint(h.URIs) != "[a b]" || h.Tools {
		t.Errorf("honoured %+v", h)
	}
	other := subscribe(t, s, uris("b"))
	waitLog(t, b, "+a +b +no:c")
	one.Close()
	one.Close()
	waitLog(t, b, "+a +b +no:c -a")
	other.Close()
	waitLog(t, b, "+a +b +no:c -a -b")
	subscribe(t, s, uris("b"))
	waitLog(t, b, "+a +b +no:c -a -b +b")
}

func TestOnlyWhatThereIsIsHonoured(t *testing.T) {
	b := &backend{}
	s := newSet(t, b, unit.Supports{Prompts: true})
	sub := subscribe(t, s, subscription.Filter{Tools: true, Prompts: true, Resources: true, URIs: []string{"a"}})
	if h := sub.Honoured(); h.Tools || !h.Prompts || h.Resources || len(h.URIs) > 0 || b.log() != "" {
		t.Errorf("honoured %+v, asked %q", h, b.log())
	}
}

func TestNextBackendIsAskedAgain(t *testing.T) {
	first, second := &backend{}, &backend{}
	s := newSet(t, first, able)
	sub := subscribe(t, s, uris("a"))
	first.gone = true
	if _, err := s.Subscribe(t.Context(), uris("b")); !errors.Is(err, errGone) {
		t.Errorf("got %v", err)
	}
	if err := s.Attach(t.Context(), second.ask, able); err != nil {
		t.Fatal(err)
	}
	waitLog(t, second, "+a")
	sub.Close()
	waitLog(t, second, "+a -a")
}

func TestNotificationsWaitOnce(t *testing.T) {
	s := newSet(t, &backend{}, able)
	f := all
	f.URIs = []string{"test://end", "test://a", "test://dir/"}
	sub := subscribe(t, s, f)
	deaf := subscribe(t, s, uris("test://end"))
	for range 3 {
		say(s, mcp.MethodToolsChanged, "")
		say(s, mcp.MethodResourceUpdated, "test://a")
		say(s, mcp.MethodResourceUpdated, "test://other")
		say(s, mcp.MethodPromptsChanged, "")
		say(s, mcp.MethodResourceUpdated, "test://dir/b")
		say(s, mcp.MethodResourceUpdated, "test://a/part")
		say(s, mcp.MethodResourceUpdated, "test://ab")
		say(s, mcp.MethodResourcesChanged, "")
		say(s, mcp.MethodLog, "")
	}
	want := "tools/list_changed resources/updatedtest://a prompts/list_changed resources/updatedtest://dir/b resources/updatedtest://a/part resources/list_changed"
	if got := heard(t, s, sub); got != want {
		t.Errorf("heard %s\nwant  %s", got, want)
	}
	if got := heard(t, s, deaf); got != "" {
		t.Errorf("the other heard %s", got)
	}
}

// A backend cannot make a listener that does not read take memory without end.
func TestNotificationsAreBounded(t *testing.T) {
	s := newSet(t, &backend{}, able)
	sub := subscribe(t, s, uris("test://dir/", "test://end"))
	for i := range 5000 {
		say(s, mcp.MethodResourceUpdated, fmt.Sprintf("test://dir/%d", i))
	}
	say(s, mcp.MethodResourceUpdated, "test://dir/"+strings.Repeat("x", 100<<10))
	got := strings.Fields(heard(t, s, sub))
	if len(got) == 0 || len(got) > subscription.MaxURIs+3 || !strings.HasSuffix(got[len(got)-1], "/4999") {
		t.Errorf("%d waited, the last %.60q", len(got), got[len(got)-1:])
	}
}

func TestSubscriptionsAreBounded(t *testing.T) {
	s := newSet(t, &backend{}, able)
	many := make([]string, subscription.MaxURIs)
	for i := range many {
		many[i] = fmt.Sprint("test://", i)
	}
	full := subscribe(t, s, uris(many...))
	if _, err := s.Subscribe(t.Context(), uris("one more")); !errors.Is(err, subscription.ErrTooMany) {
		t.Errorf("a resource too many: %v", err)
	}
	full.Close()
	if _, err := s.Subscribe(t.Context(), uris(strings.Repeat("x", subscription.MaxURILength+1))); !errors.Is(err, subscription.ErrURITooLong) {
		t.Errorf("a long URI: %v", err)
	}
	for range subscription.MaxSubscriptions {
		subscribe(t, s, all)
	}
	if _, err := s.Subscribe(t.Context(), all); !errors.Is(err, subscription.ErrTooMany) {
		t.Errorf("a subscription too many: %v", err)
	}
}

// deaf never answers.
type deaf struct{ asked int }

func (d *deaf) ask(ctx context.Context, method, _ string) error {
	if method != mcp.MethodSubscribe {
		panic("nothing was subscribed to")
	}
	d.asked++
	<-ctx.Done()
	return ctx.Err()
}

func TestSilentBackendIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &deaf{}
		s := subscription.NewSet()
		if err := s.Attach(t.Context(), d.ask, able); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			sub := subscribe(t, s, subscription.Filter{Tools: true, URIs: []string{"a", "b"}})
			if h := sub.Honoured(); !h.Tools || len(h.URIs) > 0 || d.asked != 1 {
				t.Errorf("honoured %+v, asked %d times", h, d.asked)
			}
			sub.Close()
		}
	})
}

func TestSubscriptionsEnd(t *testing.T) {
	b := &backend{}
	s := newSet(t, b, able)
	closed, ended := subscribe(t, s, uris("a")), subscribe(t, s, uris("b"))
	closed.Close()
	waitLog(t, b, "+a +b -a")
	s.Close()
	for _, sub := range []*subscription.Subscription{closed, ended} {
		if _, err := sub.Next(t.Context()); !errors.Is(err, subscription.ErrEnded) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := s.Subscribe(t.Context(), all); !errors.Is(err, subscription.ErrEnded) {
		t.Errorf("a late one: %v", err)
	}
	open := subscribe(t, newSet(t, b, able), all)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := open.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
