package clientmeta

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/version"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

// Limits of one fetch. The draft recommends at least 5 kB; real documents are
// below 2 kB, key sets may be larger.
const (
	maxBody   = 64 << 10        // bytes
	fetchTime = 5 * time.Second // the user's browser waits meanwhile
	parallel  = 8               // fetches at once
)

// Config is what a Fetcher needs. All but Log may be left out.
type Config struct {
	Log *slog.Logger
	Now func() time.Time // time.Now when nil
	// Schemes of redirect URIs that documents may have besides the known ones.
	Schemes oauth.Schemes

	// Tests stand a server of their own in for the internet with these three.
	Roots   *x509.CertPool // the system's when nil
	Resolve func(ctx context.Context, host string, port uint16) ([]netip.AddrPort, error)
	Allow   func(netip.AddrPort) error // public unicast addresses and port 443 when nil
}

// Fetcher reads documents and key sets. It is safe for concurrent use.
type Fetcher struct {
	log       *slog.Logger
	http      *http.Client
	slots     chan struct{}
	documents *cache[model.Client]
	keys      *cache[[]jose.JSONWebKey]
}

// New returns a Fetcher.
func New(cfg Config) *Fetcher {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	g := &guard{resolve: cfg.Resolve, allow: cfg.Allow}
	if g.resolve == nil {
		g.resolve = resolve
	}
	if g.allow == nil {
		g.allow = publicOnly()
	}
	f := &Fetcher{log: cfg.Log, slots: make(chan struct{}, parallel), http: &http.Client{
		Transport: &http.Transport{
			Proxy:                  nil, // a proxy would connect where the guard cannot look
			DialContext:            g.dial,
			TLSClientConfig:        &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	f.documents = newCache(cfg.Now, f.fetch, func(url string, body []byte) (model.Client, error) { return parseClient(url, body, cfg.Schemes) })
	f.keys = newCache(cfg.Now, f.fetch, func(_ string, set []byte) ([]jose.JSONWebKey, error) { return ParseKeys(set) })
	return f
}

// Error says why a document or a key set cannot be used. Its text may be shown
// to anyone.
type Error struct {
	Reason      string
	Unreachable bool // nothing usable came; what was there before still counts
	cause       error
}

// Error returns the reason.
func (e *Error) Error() string { return e.Reason }

// Unwrap returns what is for the log only.
func (e *Error) Unwrap() error { return e.cause }

// answer is what came back for one URL.
type answer struct {
	body        []byte
	etag        string
	fresh       time.Duration // for how long it may be used unasked
	notModified bool
}

// fetch gets a JSON document. It follows no redirect and takes 200 and JSON
// only (draft §4), or 304 where etag is given.
func (f *Fetcher) fetch(ctx context.Context, url, etag string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	case <-ctx.Done():
		return answer{}, &Error{"too many are being fetched; try again", true, ctx.Err()}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return answer{}, &Error{"its URL cannot be used", false, err}
	}
	if req.URL.Scheme != "https" {
		return answer{}, &Error{"its URL is not https", false, nil}
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "fjmcp-broker/"+version.Version)
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, err := f.http.Do(req)
	if err != nil {
		// The same words whatever the cause: they must not tell a stranger what
		// names resolve to here, or which addresses answer.
		return answer{}, &Error{"it cannot be fetched", true, err}
	}
	defer resp.Body.Close()
	return f.read(resp, etag)
}

func (f *Fetcher) read(resp *http.Response, etag string) (answer, error) {
	a := answer{etag: resp.Header.Get("ETag"), fresh: freshness(resp.Header)}
	if resp.StatusCode == http.StatusNotModified && etag != "" {
		a.notModified = true
		return a, nil
	}
	if resp.StatusCode != http.StatusOK {
		gone := resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone
		return a, &Error{fmt.Sprintf("its server answered with status %d", resp.StatusCode), !gone, nil}
	}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" && !(strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json")) {
		return a, &Error{"it is not served as application/json", true, err}
	}
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return a, &Error{"it cannot be fetched", true, err}
	case len(a.body) > maxBody:
		return a, &Error{fmt.Sprintf("it is larger than %d bytes", maxBody), false, nil}
	}
	return a, nil
}

// Bounds of what a server may say about caching.
const (
	freshMin     = time.Minute // one login looks at the document several times
	freshMax     = 24 * time.Hour
	freshDefault = 10 * time.Minute
)

// freshness reads Cache-Control and Age (RFC 9111 §4.2). Expires is not looked
// at.
func freshness(h http.Header) time.Duration {
	fresh := freshDefault
	for _, directive := range strings.Split(strings.ToLower(h.Get("Cache-Control")), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch name {
		case "no-store", "no-cache":
			return freshMin
		case "max-age":
			fresh = seconds(strings.Trim(value, `"`))
		}
	}
	return min(max(fresh-seconds(h.Get("Age")), freshMin), freshMax)
}

// seconds reads delta-seconds (RFC 9111 §1.2.2), 0 if it is none. What is too
// large to count is as good as freshMax.
func seconds(s string) time.Duration {
	n, err := strconv.ParseUint(s, 10, 32)
	if errors.Is(err, strconv.ErrRange) {
		return freshMax
	}
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}
