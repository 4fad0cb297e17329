package doctor

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/localhost"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forge"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

// bodyTimeout is enough for a request of mcp.MaxBody on any network that is this machine's.
const bodyTimeout = 8 * time.Second

// claim is what the doctor says of itself in X-Forwarded-For: nobody's address (RFC 5737).
const claim = "192.0.2.77"

// proxy looks what the way from the public URL does with a stream, with a large request,
// and with who it comes from. The broker opens a path for it.
func (d *Doctor) proxy(ctx context.Context, f *Finding) {
	if d.status == nil || !d.publicURLWorks() {
		f.skip("the public URL does not lead to a broker from here")
		return
	}
	client, err := d.publicClient()
	if err != nil {
		f.fail(err.Error(), d.after())
		return
	}
	trial, err := d.Caller.Trial(ctx)
	if err != nil {
		f.skip(err.Error())
		return
	}
	if !strings.HasPrefix(trial.URL, d.public()+"/") { // a broker does not have root ask elsewhere
		f.skip("the broker that runs has another public URL than the settings: systemctl restart fjmcp-broker.service")
		return
	}
	seen, kept, err := tryStream(ctx, client, trial.URL)
	if err != nil {
		f.fail("a stream from "+d.public()+" cannot be read: "+innermost(err).Error(), "the proxy must pass every path to the broker")
		return
	}
	f.Detail = "streams pass, and requests come from " + seen.Source
	if kept {
		f.warn("the proxy keeps events back until a stream ends: clients wait for what the broker has long said",
			"nginx: proxy_buffering off; Caddy: flush_interval -1. /usr/share/doc/fjmcp-broker/examples has both")
	}
	if behindProxy(trial.URL) {
		judgeSource(f, seen)
	}
	d.tryBody(ctx, client, f)
}

// behindProxy reports whether a public URL must be a proxy's: the broker has no TLS.
func behindProxy(address string) bool { return strings.HasPrefix(address, "https:") }

// public is the public URL, of the settings where they can be read.
func (d *Doctor) public() string {
	if d.cfg != nil {
		return d.cfg.PublicURL.String()
	}
	return d.status.PublicURL
}

func (d *Doctor) publicURLWorks() bool { return d.said("public-url") == health.OK }

// publicClient connects as the broker's own check does.
func (d *Doctor) publicClient() (*http.Client, error) {
	file := ""
	if d.cfg != nil {
		file = d.cfg.ForgejoCAFile
	}
	roots, err := forge.Roots(file)
	if err != nil {
		return nil, err
	}
	dialer := &localhost.Dialer{Dialer: net.Dialer{Timeout: 5 * time.Second}}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, DisableKeepAlives: true, ExpectContinueTimeout: 5 * time.Second,
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		},
	}, nil
}

// tryStream reads the first event of a trial; kept reports whether the last one came with
// it.
func tryStream(ctx context.Context, client *http.Client, address string) (seen admin.Seen, kept bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return seen, false, err
	}
	if behindProxy(address) { // else the broker would take this program for one
		req.Header.Set("X-Forwarded-For", claim)
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := client.Do(req)
	if err != nil {
		return seen, false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return seen, false, errors.New(resp.Status)
	}
	r := bufio.NewReader(io.LimitReader(resp.Body, 4<<10))
	var line string
	for !strings.HasPrefix(line, "data: ") {
		if line, err = r.ReadString('\n'); err != nil {
			return seen, false, err
		}
	}
	rest, _ := r.Peek(r.Buffered())
	err = json.Unmarshal([]byte(strings.TrimPrefix(line, "data: ")), &seen)
	return seen, strings.Contains(string(rest), "data: "+admin.TrialEnd), err
}

func judgeSource(f *Finding, seen admin.Seen) {
	const cure = "have the proxy set X-Forwarded-For to the address that connects to it alone; nginx: proxy_set_header X-Forwarded-For $remote_addr; Caddy does so by itself, without header_up lines for it"
	switch {
	case !seen.Believed:
		f.warn("the proxy is not believed, so that all users share the limits of one address, "+seen.Source,
			"let it connect to /run/fjmcp/http.sock, or name its address in FJMCP_BROKER_TRUSTED_PROXIES and systemctl restart fjmcp-broker.service")
	case seen.Source == claim:
		f.warn("the proxy passes on what a client says of itself in X-Forwarded-For: whoever likes evades the limits", cure)
	case seen.Source == "local":
		f.warn("the proxy does not say where requests come from, so that all users share the limits of one source", cure)
	}
}

// zeros is a body without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// tryBody sends a request as large as the broker takes: some proxies refuse one by the
// length that is announced, others count what comes.
func (d *Doctor) tryBody(ctx context.Context, client *http.Client, f *Finding) {
	trial, err := d.Caller.Trial(ctx)
	if err != nil || !strings.HasPrefix(trial.URL, d.public()+"/") {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, bodyTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, trial.URL, io.LimitReader(zeros{}, mcp.MaxBody))
	if err != nil {
		return
	}
	req.ContentLength = mcp.MaxBody
	req.Header.Set("Expect", "100-continue") // one that is refused by its length is not sent
	resp, err := client.Do(req)
	how := "breaks the connection"
	switch {
	case ctx.Err() != nil:
		f.Detail += fmt.Sprintf("; a request of %d MB takes longer than %s, and was not tried to its end", mcp.MaxBody>>20, bodyTimeout)
		return
	case err == nil:
		resp.Body.Close()
		if resp.StatusCode == http.StatusNoContent {
			return
		}
		how = "answers " + resp.Status
	}
	f.warn(fmt.Sprintf("the proxy refuses requests that the broker would take, of up to %d MB: it %s", mcp.MaxBody>>20, how),
		"nginx: client_max_body_size 64m; Caddy: no request_body max_size below 64MiB")
}

// innermost leaves out what only repeats the URL.
func innermost(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
