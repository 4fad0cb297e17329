package forgeproxy

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
)

// refusingForge answers 401 to the token "old" and echoes bodies otherwise.
func refusingForge(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if r.Header.Get("Authorization") != "token new" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.Header().Set("X-Seen", strings.Join(r.Header.Values("Proxy-Authorization"), ","))
	w.Write(body)
}

// proxied starts a proxy with the token "old" and returns a client that uses it.
// renew is called for each report of a refused token.
func proxied(t *testing.T, h http.HandlerFunc, renew func(*Proxy) error) (*http.Client, string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	forge := strings.Replace(s.URL, "127.0.0.1", "forgejo.localhost", 1)
	u, err := url.Parse(forge)
	if err != nil {
		t.Fatal(err)
	}
	var p *Proxy
	p, err = New(Config{
		Forge: u, Token: "old", Policy: everything(t), Log: slog.New(slog.DiscardHandler),
		Unauthorized: func() error { return renew(p) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	p.SetMode(control.ModeReadWrite, nil)
	at, _ := url.Parse(p.URL())
	transport := &http.Transport{Proxy: http.ProxyURL(at)}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}, forge + "/api/v1/x"
}

func post(t *testing.T, c *http.Client, url, body string) (int, string) {
	t.Helper()
	resp, err := c.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

func TestConcurrentRefusalsAskOnce(t *testing.T) {
	const calls = 8
	var asked, arrived atomic.Int32
	all := make(chan struct{})
	forge := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "token old" && arrived.Add(1) == calls {
			close(all)
		}
		<-all // every call is under way before the first is refused
		refusingForge(w, r)
	}
	c, url := proxied(t, forge, func(p *Proxy) error {
		asked.Add(1)
		return p.SetToken("new")
	})
	var wg sync.WaitGroup
	for range calls {
		wg.Go(func() {
			if status, body := post(t, c, url, "a body"); status != http.StatusOK || body != "a body" {
				t.Errorf("got %d %q", status, body)
			}
		})
	}
	wg.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("the broker was asked %d times", n)
	}
}

func TestLargeBodiesAreNotSentAgain(t *testing.T) {
	c, url := proxied(t, refusingForge, func(p *Proxy) error { return p.SetToken("new") })
	large := strings.Repeat("x", maxReplay+1)
	if status, body := post(t, c, url, large); status != http.StatusServiceUnavailable || !strings.Contains(body, "send it once more") {
		t.Errorf("got %d %q", status, body)
	}
	if status, body := post(t, c, url, large); status != http.StatusOK || body != large {
		t.Errorf("after the new token: got %d and %d bytes", status, len(body))
	}
}

// A backend that ends while its token is renewed did not end because of the token.
func TestARefusalIsOpenUntilItIsPassedOn(t *testing.T) {
	var under Contact
	c, url := proxied(t, refusingForge, func(p *Proxy) error {
		under = p.Contact()
		return p.SetToken("new")
	})
	if status, _ := post(t, c, url, "a body"); status != http.StatusOK {
		t.Errorf("got %d", status)
	}
	if under != (Contact{}) {
		t.Errorf("while it is renewed: %+v", under)
	}
}

// The forge's 401 goes to the backend only where it says something of the login.
func TestWhenNoTokenWillCome(t *testing.T) {
	for name, tt := range map[string]struct {
		renew  func(*Proxy) error
		status int
		text   string
	}{
		"the login is dead": {func(p *Proxy) error { p.NoToken(""); return nil }, http.StatusUnauthorized, ""},
		"the forge is down": {func(p *Proxy) error { p.NoToken(control.ReasonForgeUnreachable); return nil }, http.StatusBadGateway, "the forge cannot be reached"},
		"the broker fails":  {func(p *Proxy) error { p.NoToken(control.ReasonInternal); return nil }, http.StatusBadGateway, "cannot be renewed right now"},
		"nobody is there":   {func(*Proxy) error { return errors.New("nobody there") }, http.StatusBadGateway, "cannot be renewed right now"},
	} {
		c, url := proxied(t, refusingForge, tt.renew)
		if status, body := post(t, c, url, ""); status != tt.status || !strings.Contains(body, tt.text) {
			t.Errorf("%s: got %d %q", name, status, body)
		}
	}
}

func TestUnreachableForge(t *testing.T) {
	u := &url.URL{Scheme: "http", Host: "forgejo.localhost:1"}
	p, err := New(Config{Forge: u, Token: "t", Policy: everything(t), Egress: t.TempDir() + "/absent.sock", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.SetMode(control.ModeReadWrite, nil)
	at, _ := url.Parse(p.URL())
	c := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(at), DisableKeepAlives: true}}
	status, body := post(t, c, u.String()+"/api/v1/user/repos", "")
	if status != http.StatusBadGateway || !strings.Contains(body, "cannot reach the forge http://forgejo.localhost:1") || strings.Contains(body, "absent.sock") {
		t.Errorf("got %d %q", status, body)
	}
	if got := p.Contact(); got.Answered || got.Err == nil || !strings.Contains(got.Err.Error(), "absent.sock") {
		t.Errorf("contact %+v", got)
	}
}

// Were the wait not ended, this test would hang: its context has no deadline.
func TestNoTokenEndsTheWait(t *testing.T) {
	held := newTokens("old")
	_, err := held.after(t.Context(), "old", func() error { held.giveUp(""); return nil })
	if err != errNone {
		t.Error("a token came out of nowhere")
	}
}

// A forge may answer before it has read a whole upload: the rest is sent on, and
// what it goes on to say is not cut off.
func TestEarlyAnswersAreWhole(t *testing.T) {
	early := func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.WriteString(w, "early, ")
		_ = http.NewResponseController(w).Flush()
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprintf(w, "%d bytes", n)
	}
	c, forge := proxied(t, early, func(*Proxy) error { return errors.New("unexpected") })
	body, upload := io.Pipe()
	half := strings.Repeat("x", 2*maxReplay)
	begun := make(chan error)
	go func() {
		_, err := io.WriteString(upload, half)
		begun <- err
	}()
	resp, err := c.Post(forge, "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := <-begun; err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(upload, half); err != nil {
		t.Fatal(err)
	}
	upload.Close()
	if got, err := io.ReadAll(resp.Body); err != nil || string(got) != fmt.Sprintf("early, %d bytes", 2*len(half)) {
		t.Fatalf("got %q, %v", got, err)
	}
}
