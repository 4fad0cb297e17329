package clientmeta_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/clientmeta"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeweb"
)

const appID = "https://app.example/client.json"

func appDocument(name string) string {
	return `{"client_id":"` + appID + `","client_name":"` + name + `","redirect_uris":["http://127.0.0.1/cb"]}`
}

// world is a fetcher in front of a test's web, with a clock that stands still.
type world struct {
	web *fakeweb.Web
	*clientmeta.Fetcher
	offset atomic.Int64
}

func newWorld(t *testing.T) *world {
	w := &world{web: fakeweb.Start(t)}
	start := time.Now()
	cfg := clientmeta.Config{Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return start.Add(time.Duration(w.offset.Load())) }}
	w.web.Configure(&cfg)
	w.Fetcher = clientmeta.New(cfg)
	return w
}

func (w *world) advance(d time.Duration) { w.offset.Add(int64(d)) }

func (w *world) serve(body string, headers ...string) {
	w.web.Handle(appID, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		for i := 0; i < len(headers); i += 2 {
			rw.Header().Set(headers[i], headers[i+1])
		}
		_, _ = rw.Write([]byte(body))
	})
}

func (w *world) name(t *testing.T) string {
	t.Helper()
	c, err := w.Client(t.Context(), appID)
	if err != nil {
		t.Fatal(err)
	}
	return c.Name
}

func TestClient(t *testing.T) {
	w := newWorld(t)
	w.web.JSON(appID, appDocument("App"))
	c, err := w.Client(t.Context(), appID)
	if err != nil || c.ID != appID || c.Kind != model.ClientDocument || c.Name != "App" || c.AuthMethod != "none" {
		t.Fatalf("%+v, %v", c, err)
	}
}

func TestLoopbackServerIsRefusedByTheGuard(t *testing.T) {
	web := fakeweb.Start(t)
	web.JSON(appID, appDocument("App"))
	cfg := clientmeta.Config{Log: slog.New(slog.DiscardHandler)}
	web.Resolve(&cfg) // but Allow is the real one
	f := clientmeta.New(cfg)
	_, err := f.Client(t.Context(), appID)
	var failure *clientmeta.Error
	if !errors.As(err, &failure) || web.Connections() != 0 {
		t.Fatalf("%v, %d connections", err, web.Connections())
	}
	if strings.Contains(err.Error(), "127.0.0.1") || strings.Contains(err.Error(), "address") {
		t.Errorf("the error tells what the name resolves to: %v", err)
	}
	if _, err := f.Keys(t.Context(), model.Client{JWKSURI: "https://app.example/jwks"}, ""); err == nil || web.Connections() != 0 {
		t.Errorf("keys: %v, %d connections", err, web.Connections())
	}
}

// Documents as their publishers serve them, and the redirect URIs that the
// clients then use.
func TestRealDocuments(t *testing.T) {
	w := newWorld(t)
	for file, starts := range map[string][]string{
		"known/claude.json":        {"https://claude.ai/api/mcp/auth_callback"},
		"known/claude-code.json":   {"http://localhost:54545/callback", "http://127.0.0.1:1/callback"},
		"known/vscode.json":        {"https://vscode.dev/redirect", "http://127.0.0.1:33418/", "http://127.0.0.1:50000/", "http://127.0.0.1:50000"},
		"known/zed.json":           {"http://127.0.0.1:40001/callback"},
		"known/goose.json":         {"http://127.0.0.1:40001/oauth_callback", "http://[::1]:40001/oauth_callback"},
		"testdata/chatgpt.json":    {"https://chatgpt.com/connector_platform_oauth_redirect"},
		"testdata/chatgpt-id.json": {"https://chatgpt.com/connector/oauth/AbC_123"},
	} {
		body, err := os.ReadFile(filepath.FromSlash(file))
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			ClientID string `json:"client_id"`
		}
		if err := json.Unmarshal(body, &d); err != nil {
			t.Fatal(err)
		}
		w.web.JSON(d.ClientID, string(body))
		c, err := w.Client(t.Context(), d.ClientID)
		if err != nil || c.Name == "" || w.web.Hits(d.ClientID) != 1 {
			t.Errorf("%s: %+v, %v", file, c, err)
		}
		for _, uri := range starts {
			if !(oauth.Schemes{}).Match(c.RedirectURIs, uri) {
				t.Errorf("%s: %s is not allowed by %q", file, uri, c.RedirectURIs)
			}
		}
		if (oauth.Schemes{}).Match(c.RedirectURIs, "https://evil.example/cb") || (oauth.Schemes{}).Match(c.RedirectURIs, "http://127.0.0.1:9/evil") {
			t.Errorf("%s allows a foreign redirect URI", file)
		}
	}
}

func TestCopyOfAKnownDocument(t *testing.T) {
	const claude = "https://claude.ai/oauth/mcp-oauth-client-metadata"
	for name, tt := range map[string]struct {
		status int
		body   string
		works  bool
	}{
		"challenge": {403, "<html>", true}, "down": {503, "", true}, "page": {200, "<html>", true},
		"gone": {404, "", false}, "spoiled": {200, "{}", false},
	} {
		w := newWorld(t)
		w.web.Handle(claude, func(rw http.ResponseWriter, _ *http.Request) {
			if rw.Header().Set("Content-Type", "application/json"); strings.HasPrefix(tt.body, "<") {
				rw.Header().Set("Content-Type", "text/html")
			}
			rw.WriteHeader(tt.status)
			_, _ = rw.Write([]byte(tt.body))
		})
		c, err := w.Client(t.Context(), claude)
		if (err == nil) != tt.works || tt.works && c.Name != "Claude" {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
		if w.web.Hits(claude) != 1 {
			t.Errorf("%s: the publisher was not asked", name)
		}
	}
}

func TestBadAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		page http.HandlerFunc
		want string
	}{
		"redirect": {func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "https://app.example/other.json", http.StatusFound)
		}, "status 302"},
		"not modified unasked": {func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(304) }, "status 304"},
		"created":              {func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(201) }, "status 201"},
		"text":                 {func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, appDocument("App")) }, "application/json"},
		"json in text": {func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/json")
			fmt.Fprint(rw, appDocument("App"))
		}, "application/json"},
		"large": {func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			fmt.Fprint(rw, appDocument(strings.Repeat("x", 64<<10)))
		}, "larger than 65536 bytes"},
		"cut short": {func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			rw.Header().Set("Content-Length", "1000")
			fmt.Fprint(rw, "{")
		}, "cannot be fetched"},
		"aborted": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "cannot be fetched"},
	} {
		w := newWorld(t)
		w.web.JSON("https://app.example/other.json", appDocument("App"))
		w.web.Handle(appID, tt.page)
		_, err := w.Client(t.Context(), appID)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if w.web.Hits("https://app.example/other.json") != 0 {
			t.Errorf("%s: a redirect was followed", name)
		}
	}
	w := newWorld(t)
	w.web.Handle(appID, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/oauth-client+json; charset=utf-8")
		fmt.Fprint(rw, appDocument("App"))
	})
	if got := w.name(t); got != "App" {
		t.Errorf("a more specific JSON type: %q", got)
	}
}

func TestCacheControl(t *testing.T) {
	for header, fresh := range map[string]time.Duration{
		"": 10 * time.Minute, "max-age=300": 5 * time.Minute, "public, Max-Age=\"600\"": 10 * time.Minute, "max-age=0": time.Minute,
		"no-store": time.Minute, "no-cache, max-age=3600": time.Minute, "max-age=999999999999": 24 * time.Hour, "max-age=-5": time.Minute,
		"max-age=31536000, immutable": 24 * time.Hour,
	} {
		w := newWorld(t)
		w.serve(appDocument("Old"), "Cache-Control", header)
		w.name(t)
		w.serve(appDocument("New"))
		w.advance(fresh - time.Second)
		if got := w.name(t); got != "Old" {
			t.Errorf("%q: asked again before %s", header, fresh)
		}
		w.advance(2 * time.Second)
		if got := w.name(t); got != "New" {
			t.Errorf("%q: not asked again after %s", header, fresh)
		}
	}
	w := newWorld(t)
	w.serve(appDocument("App"), "Cache-Control", "max-age=600", "Age", "300")
	w.name(t)
	w.advance(301 * time.Second)
	w.name(t)
	if n := w.web.Hits(appID); n != 2 {
		t.Errorf("Age is not counted: %d requests", n)
	}
}

func TestRevalidation(t *testing.T) {
	w := newWorld(t)
	var notModified atomic.Int64
	w.web.Handle(appID, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("ETag", `"v1"`)
		if r.Header.Get("If-None-Match") == `"v1"` {
			notModified.Add(1)
			rw.WriteHeader(http.StatusNotModified)
			return
		}
		rw.Header().Set("Content-Type", "application/json")
		fmt.Fprint(rw, appDocument("App"))
	})
	for range 3 {
		if w.name(t) != "App" {
			t.Error("the document changed")
		}
		w.advance(time.Hour)
	}
	if notModified.Load() != 2 {
		t.Errorf("%d revalidations", notModified.Load())
	}
}

func TestFailuresAreNotRepeatedAtOnce(t *testing.T) {
	w := newWorld(t)
	w.web.Handle(appID, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) })
	for range 5 {
		if _, err := w.Client(t.Context(), appID); err == nil {
			t.Fatal("a document came from nowhere")
		}
	}
	if n := w.web.Hits(appID); n != 1 {
		t.Errorf("%d requests", n)
	}
	w.serve(appDocument("App"))
	w.advance(11 * time.Second)
	w.name(t)
}

func TestOldDocumentServesWhileItsServerFails(t *testing.T) {
	w := newWorld(t)
	w.serve(appDocument("App"))
	w.name(t)
	w.web.Handle(appID, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(502) })
	w.advance(23 * time.Hour)
	if w.name(t) != "App" {
		t.Error("the old document is not used")
	}
	w.advance(2 * time.Hour)
	if _, err := w.Client(t.Context(), appID); err == nil {
		t.Error("a document of yesterday is still used")
	}
	for name, page := range map[string]http.HandlerFunc{
		"deleted": func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(404) },
		"spoiled": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			fmt.Fprint(rw, "{}")
		},
	} {
		w.serve(appDocument("App"))
		w.advance(time.Hour)
		w.name(t)
		w.web.Handle(appID, page)
		w.advance(time.Hour)
		if _, err := w.Client(t.Context(), appID); err == nil {
			t.Errorf("a document that was %s is still used", name)
		}
	}
}

func TestOneFetchForMany(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	w.web.Handle(appID, func(rw http.ResponseWriter, _ *http.Request) {
		<-release
		rw.Header().Set("Content-Type", "application/json")
		fmt.Fprint(rw, appDocument("App"))
	})
	gone, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() { _, err := w.Client(gone, appID); first <- err }()
	for w.web.Hits(appID) == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that gave up: %v", err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := w.Client(t.Context(), appID); err != nil {
				t.Error(err)
			}
		})
	}
	close(release)
	wg.Wait()
	if n := w.web.Hits(appID); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func jwks(t *testing.T, ids ...string) string {
	t.Helper()
	var set jose.JSONWebKeySet
	for _, id := range ids {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.Public(), KeyID: id, Algorithm: "ES256", Use: "sig"})
	}
	b, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestKeysAreReadAgainForANewOne(t *testing.T) {
	const uri = "https://app.example/jwks"
	w := newWorld(t)
	c := model.Client{JWKSURI: uri}
	count := func(kid string) int {
		t.Helper()
		keys, err := w.Keys(t.Context(), c, kid)
		if err != nil {
			t.Fatal(err)
		}
		return len(keys)
	}
	w.web.JSON(uri, jwks(t, "one"))
	if count("one") != 1 || count("") != 1 || count("two") != 0 || w.web.Hits(uri) != 1 {
		t.Errorf("%d requests", w.web.Hits(uri))
	}
	w.web.JSON(uri, jwks(t, "one", "two"))
	w.advance(61 * time.Second)
	if count("two") != 1 || count("") != 2 || count("three") != 0 || w.web.Hits(uri) != 2 {
		t.Errorf("%d requests", w.web.Hits(uri))
	}
	if keys, err := w.Keys(t.Context(), model.Client{JWKS: jwks(t, "own")}, "own"); err != nil || len(keys) != 1 {
		t.Errorf("inline: %v, %v", keys, err)
	}
	var off *clientmeta.Fetcher
	if keys, err := off.Keys(t.Context(), model.Client{JWKS: jwks(t, "own")}, ""); err != nil || len(keys) != 1 {
		t.Errorf("inline without a fetcher: %v, %v", keys, err)
	}
	if _, err := off.Keys(t.Context(), c, ""); err == nil {
		t.Error("keys were fetched without a fetcher")
	}
}
