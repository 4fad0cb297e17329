package forgeproxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/localhost"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forge"
)

const (
	// dialTimeout and answerTimeout together stay within the ten seconds in
	// which a client is to learn why its session does not start.
	dialTimeout   = 4 * time.Second
	answerTimeout = 7 * time.Second // for the first answer only; later calls may take long
	renewTimeout  = 8 * time.Second // how long a request that got 401 waits for a new token
	maxReplay     = 1 << 20         // bytes of a request body kept to send it again
)

var errNoAnswer = fmt.Errorf("no answer within %v", answerTimeout)

// newTransport dials nothing but the forge, whatever the request says.
func newTransport(c Config) (*http.Transport, error) {
	roots, err := forge.Roots(c.CAFile)
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		DialContext:         forgeDialer(c),
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: maxRequests,
		MaxConnsPerHost:     maxRequests,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
	}
	if c.Plaintext {
		t.DialTLSContext = t.DialContext
	}
	return t, nil
}

func forgeDialer(c Config) func(ctx context.Context, network, addr string) (net.Conn, error) {
	d := &localhost.Dialer{Dialer: net.Dialer{Timeout: dialTimeout}}
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		if c.Egress != "" {
			return d.Dialer.DialContext(ctx, "unix", c.Egress)
		}
		return d.DialContext(ctx, "tcp", net.JoinHostPort(c.Forge.Hostname(), forge.Port(c.Forge)))
	}
}

// upstream is the RoundTripper towards the forge: it sets the token, and gets a
// new one and sends the request again when the forge answers 401.
type upstream struct {
	base    http.RoundTripper
	tokens  *tokens
	contact *record
	report  func() error // tells the broker that the token was refused

	forbidden func(context.Context)
}

func (u *upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	replay, err := keepBody(r)
	if err != nil {
		return nil, err
	}
	token := u.tokens.get()
	resp, err := u.send(r, token)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	fresh, err := u.renew(r.Context(), token, replay != nil)
	switch {
	case replay == nil:
		return tooLarge(resp), nil
	case err == errNone:
		u.contact.answer(resp.StatusCode)
		return resp, nil
	case err != nil:
		u.contact.failed(err)
		resp.Body.Close()
		return nil, err
	}
	io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	resp.Body.Close()
	r.Body = replay()
	if resp, err = u.send(r, fresh); err == nil {
		u.contact.answer(resp.StatusCode)
	}
	return resp, err
}

// tooLarge stands in for the 401 to a request that cannot be sent again. That would
// read as if the login were at fault, when all it takes is the same request.
func tooLarge(refused *http.Response) *http.Response {
	refused.Body.Close()
	const text = `{"message":"fjmcp: the access token had run out, and this request is too large to be sent again by itself; nothing was done, send it once more"}`
	resp := *refused
	resp.StatusCode, resp.Status = http.StatusServiceUnavailable, "503 Service Unavailable"
	resp.Header = http.Header{"Content-Type": {"application/json"}, "Retry-After": {"1"}}
	resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	return &resp
}

// renew waits for a new token only if the request can be sent again; it asks for
// one in any case, for the sake of the next request.
func (u *upstream) renew(ctx context.Context, stale string, wait bool) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	if !wait {
		cancel()
	}
	return u.tokens.after(ctx, stale, u.report)
}

// plain hides from the transport that ReverseProxy would pass on informational answers
// (RFC 9110 §15.2), which nobody looks at.
type plain struct{ context.Context }

func (plain) Value(any) any { return nil }

func (u *upstream) send(r *http.Request, token string) (resp *http.Response, err error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer func() {
		if err != nil {
			cancel(nil) // else the body is still to be read; the request's end ends ctx
		}
	}()
	if !u.contact.get().Answered {
		defer time.AfterFunc(answerTimeout, func() { cancel(errNoAnswer) }).Stop()
	}
	in := r
	r = r.Clone(plain{ctx})
	r.Header.Set("Authorization", "token "+token)
	resp, err = u.base.RoundTrip(r)
	if err != nil {
		if errors.Is(context.Cause(ctx), errNoAnswer) {
			err = errNoAnswer
		}
		return nil, err
	}
	final := *resp // which stays without the trailers that the transport adds to its own
	final.Trailer, final.Request = nil, in
	resp = &final
	if resp.StatusCode != http.StatusUnauthorized { // which may be over with another token
		u.contact.answer(resp.StatusCode)
	}
	if resp.StatusCode == http.StatusForbidden {
		u.forbidden(in.Context())
	}
	return resp, nil
}

// keepBody reads r's body if it is small and returns a function that gives it
// again; nil if it is too large to be kept.
func keepBody(r *http.Request) (func() io.ReadCloser, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return func() io.ReadCloser { return http.NoBody }, nil
	}
	if r.ContentLength > maxReplay {
		return nil, nil
	}
	head, err := io.ReadAll(io.LimitReader(r.Body, maxReplay+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the request: %w", err)
	}
	if len(head) > maxReplay {
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(head), r.Body), r.Body}
		return nil, nil
	}
	again := func() io.ReadCloser { return io.NopCloser(bytes.NewReader(head)) }
	r.Body = again()
	r.GetBody = func() (io.ReadCloser, error) { return again(), nil } // lets the transport retry on a stale connection
	return again, nil
}
