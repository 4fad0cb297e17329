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
	"net"
	"net/http"
	"net/netip"
	"net/url"
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
	// DeviceGrant says that clients may log in by the device authorization grant.
	DeviceGrant bool
	// Proxy, if set, is the HTTP proxy that all connections go through, by CONNECT. It
	// decides what names lead to: only addresses and ports in URLs are looked at here.
	Proxy *url.URL
	// Lost, if set, is told when a fetch could not connect: CheckWay may find that there
	// is no way out any more. It must not wait.
	Lost func()

	// Tests stand a server of their own in for the internet with these three.
	Roots   *x509.CertPool // the system's when nil
	Resolve func(ctx context.Context, host string, port uint16) ([]netip.AddrPort, error)
	Allow   func(netip.AddrPort) error // public unicast addresses and port 443 when nil
}

// Fetcher reads documents and key sets. It is safe for concurrent use.
type Fetcher struct {
	log       *slog.Logger
	now       func() time.Time
	way       wayOut
	allowed   func(*url.URL) error // before a request is sent
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
	dial, proxy, allowed := g.dial, (func(*http.Request) (*url.URL, error))(nil), func(*url.URL) error { return nil }
	if cfg.Proxy != nil {
		dial, proxy, allowed = (&net.Dialer{Timeout: connectTime, KeepAlive: -1}).DialContext, http.ProxyURL(cfg.Proxy), g.allowedURL
	}
	f := &Fetcher{log: cfg.Log, now: cfg.Now, allowed: allowed, slots: make(chan struct{}, parallel), http: &http.Client{
		Transport: &http.Transport{
			Proxy:                  proxy, // and not that of the environment: it would connect where the guard cannot look
			DialContext:            dial,
			TLSClientConfig:        &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	f.way.lost = cfg.Lost
	f.documents = newCache(cfg.Now, f.fetch, func(from string, body []byte) (model.Client, error) { return parseClient(from, body, cfg) })
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
func (f *Fetcher) fetch(ctx context.Context, from, etag string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	case <-ctx.Done():
		return answer{}, &Error{"too many are being fetched; try again", true, ctx.Err()}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return answer{}, &Error{"its URL cannot be used", false, err}
	}
	if req.URL.Scheme != "https" {
		return answer{}, &Error{"its URL is not https", false, nil}
	}
	if err := f.allowed(req.URL); err != nil {
		return answer{}, &Error{"it cannot be fetched", true, err}
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "fjmcp-broker/"+version.Version)
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, connected, err := f.do(req)
	if err != nil {
		if !connected {
			f.way.failed(err, f.now())
		}
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
