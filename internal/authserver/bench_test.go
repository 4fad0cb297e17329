package authserver_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/authserver"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/site"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/tokens"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

// BenchmarkRefresh refreshes at the token endpoint on one core, in turns with
// rotations in the store alone, which is the baseline: one durable transaction.
// "refreshes/s" is the endpoint's rate, "x-rotation-alone" what it takes of the
// baseline's time.
func BenchmarkRefresh(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	st := teststore.Open(b, teststore.Path(b), nil)
	handler := benchHandler(b, authserver.Config{Site: site.Site{Store: st}, AccessTTL: time.Hour, RefreshTTL: 24 * time.Hour})
	alice, bob := teststore.LogIn(b, st, "alice", time.Now()), teststore.LogIn(b, st, "bob", time.Now())

	token := alice.Pair.Refresh
	refresh := func() {
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {alice.Client.ID}}
		r := httptest.NewRequest(http.MethodPost, "/oauth/token", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		var answer struct {
			RefreshToken string `json:"refresh_token"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
			b.Fatalf("%d %s", w.Code, w.Body)
		}
		token = answer.RefreshToken
	}
	baseline := bob.Pair.Refresh
	rotate := func() {
		_, pair, err := st.Rotate(b.Context(), baseline, bob.Client, teststore.Pair(time.Now()), store.Asked{})
		if err != nil {
			b.Fatal(err)
		}
		baseline = pair.Refresh
	}
	var endpoint, alone time.Duration
	for b.Loop() {
		endpoint += timed(refresh)
		alone += timed(rotate)
	}
	b.ReportMetric(float64(b.N)/endpoint.Seconds(), "refreshes/s")
	b.ReportMetric(float64(endpoint)/float64(alone), "x-rotation-alone")
}

func timed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

func benchHandler(b *testing.B, cfg authserver.Config) http.Handler {
	b.Helper()
	public, err := url.Parse("https://mcp.example")
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	must(err)
	cfg.Now, cfg.Revoked = time.Now, func(context.Context, string) {}
	cfg.PublicURL, cfg.Audit, cfg.Log = public, audit.New(io.Discard), slog.New(slog.DiscardHandler)
	cfg.Forgejo, err = forgejo.New(forgejo.Config{URL: "https://forge.example", ClientID: "c", ClientSecret: "s", RedirectURL: authserver.CallbackURL(public)})
	must(err)
	cfg.Tokens, err = tokens.New(tokens.Config{Store: cfg.Store, Forgejo: cfg.Forgejo, Log: cfg.Log, Audit: cfg.Audit})
	must(err)
	mux := http.NewServeMux()
	authserver.New(cfg).Routes(mux)
	return mux
}
